"""Measures the speed of the encoder, compared with a straightforward implementation and with the machine's limit.

The straightforward implementation uses float32, finds neighbours with a full sort, gathers the features of every edge
(PyG's default), and keeps batch norms as layers. It shares the weights, so its outputs must agree.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torch_geometric.nn import MessagePassing

from asid_core import config as configs
from asid_core.model.encoder import GnnEncoder, GraphBlock, folded
from asid_core.model.factory import encoder_of
from asid_core.model.graph import edge_index
from benchmarks.lib.meter import rate
from benchmarks.lib.results import write_json, write_section

COMMAND = "make -C benchmarks encode"
CONFIG = "gnn-paper"
BATCHES = (1, 8, 32, 128)
PEAK_SIZE = 2048  # size of the square matrices that measure the machine's peak


class PlainConvolution(MessagePassing):
    """Max-relative convolution that computes x_i - x_j for every edge, and then the maximum at each node."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(aggr="max")
        self.linear = linear

    def forward(self, nodes: Tensor, neighbours: Tensor) -> Tensor:
        flat = nodes.reshape(-1, nodes.shape[-1])
        relative = self.propagate(edge_index(neighbours), x=flat)
        output: Tensor = self.linear(torch.cat([flat, relative], dim=1)).relu()
        return output.view(*nodes.shape[:2], -1)

    def message(self, x_i: Tensor, x_j: Tensor) -> Tensor:
        return x_i - x_j


class PlainBlock(nn.Module):
    """A graph block that finds neighbours with a full sort."""

    def __init__(self, block: GraphBlock) -> None:
        super().__init__()
        self.block, self.relative = block, PlainConvolution(block.relative.linear)

    def forward(self, nodes: Tensor) -> Tensor:
        block = self.block
        order = torch.cdist(nodes, nodes).argsort(dim=2)
        neighbours = order[:, :, : block.k * block.dilation : block.dilation]
        mixed = nodes + block.leave(self.relative(block.enter(nodes).relu(), neighbours))
        mixed = block.norm(mixed.flatten(0, 1)).relu().view_as(mixed)
        wide: Tensor = block.widen(mixed).relu()
        return mixed + cast(Tensor, block.narrow(wide))


def plain(encoder: GnnEncoder) -> GnnEncoder:
    """The straightforward implementation with the same weights."""
    copy = deepcopy(encoder).eval()
    copy.layers = nn.ModuleList(PlainBlock(x) if isinstance(x, GraphBlock) else x for x in copy.layers)
    return copy


@dataclass(frozen=True)
class Speed:
    """The speed of one implementation with one number of threads and one batch size."""

    form: str
    threads: int
    batch: int
    windows_per_second: float
    share_of_peak: float  # relative to the machine's matrix product in the same type, on as many threads


def peak_gflops(dtype: torch.dtype) -> float:
    """GFLOP/s of a large matrix product on this machine."""
    a, b = (torch.randn(PEAK_SIZE, PEAK_SIZE).to(dtype) for _ in range(2))
    return 2 * PEAK_SIZE**3 / 1e9 * rate(lambda: a @ b)


def gflop_per_window(encoder: nn.Module, windows: Tensor) -> float:
    with FlopCounterMode(display=False) as counter:
        encoder(windows)
    return float(counter.get_total_flops()) / len(windows) / 1e9


@torch.no_grad()
def measure(threads: Sequence[int], batches: Sequence[int]) -> tuple[list[Speed], dict[str, float]]:
    """Measure every implementation, number of threads and batch size. Returns speeds, and facts by name."""
    config = configs.load(CONFIG, ["model.encoder.graph_blocks=true"])
    torch.manual_seed(0)
    trained = cast(GnnEncoder, encoder_of(config.model).eval())
    windows = torch.randn(max(batches), *config.model.front_end.patch_size)
    half = folded(trained).to(torch.bfloat16)
    forms = {"plain float32": plain(trained), "ours float32": folded(trained), "ours bfloat16": half}
    error = float((forms["plain float32"](windows[:8])[0] - forms["ours float32"](windows[:8])[0]).abs().max())
    about = {"gflop per window": gflop_per_window(forms["ours float32"], windows[:2]), "largest difference": error}
    speeds = []
    for count in threads:
        torch.set_num_threads(count)
        peaks = {dtype: peak_gflops(dtype) for dtype in (torch.float32, torch.bfloat16)}
        about |= {f"peak {str(d).split('.')[1]} {count} threads, GFLOP/s": peak for d, peak in peaks.items()}
        for form, model in forms.items():
            peak = peaks[next(model.parameters()).dtype]
            for batch in batches:
                speed = batch * rate(lambda m=model, n=batch: m(windows[:n]))  # type: ignore[misc]
                speeds.append(Speed(form, count, batch, speed, speed * about["gflop per window"] / peak))
    return speeds, about


def table(speeds: Sequence[Speed], about: dict[str, float]) -> str:
    best = {form: max(s.windows_per_second for s in speeds if s.form == form) for form in {s.form for s in speeds}}
    lines = ["| form | threads | batch | windows/s | share of matmul peak |", "|---|---|---|---|---|"]
    for s in speeds:
        lines.append(f"| {s.form} | {s.threads} | {s.batch} | {s.windows_per_second:.1f} | {s.share_of_peak:.2f} |")
    ratios = [f"{form} {best[form] / best['plain float32']:.2f}" for form in sorted(best)]
    facts = "; ".join(f"{name} {value:.3g}" for name, value in about.items())
    return "\n".join(lines) + f"\n\nBest speed relative to plain: {', '.join(ratios)}.\n\n{facts}."


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--threads", metavar="N", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batches", metavar="N", type=int, nargs="+", default=list(BATCHES))
    args = parser.parse_args(argv)
    speeds, about = measure(args.threads, args.batches)
    text = table(speeds, about)
    print(text)
    write_json("encode", {"speeds": speeds, "about": about})
    write_section(f"Encoder speed ({CONFIG} with graph blocks, random weights)", COMMAND, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
