"""The whole exact search on a GPU, with the rows already there, and whether it finds what the CPU finds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from asid_core.config import Config
from asid_core.matching.coarse import ExactSearch, Hits
from asid_core.matching.eight_bits import quantised, step
from asid_core.precision import first_pass_type
from benchmarks.lib.steps import Said, table, unit, wait

ROWS_PER_TRACK, DIM, PROBES, TRACKS_AT_ONCE = 1500, 256, 225, 512
BLOCKS = (65_536, 2**20)
QUERY_TRACKS = (1, 8)
SMALL = [(2000, 6, 9), (5000, 13, 225)]  # rows, windows, probes


@dataclass(frozen=True)
class Searched:
    """Query tracks searched together in `rows` rows, `block` at a time. GB: the most that the GPU held."""

    rows: int
    block: int
    query_tracks: int
    seconds: float
    gb: float
    hits: int

    @property
    def pairs_per_second(self) -> float:
        return self.query_tracks * self.rows / ROWS_PER_TRACK / self.seconds


def tracks(rows: int, device: torch.device) -> Tensor:
    """Rows in eight bits, made on the device. Those of a track resemble each other: the mean cosine is 0.5."""
    made = torch.empty(rows, DIM, dtype=torch.int8, device=device)
    for start in range(0, rows, TRACKS_AT_ONCE * ROWS_PER_TRACK):
        some = made[start : start + TRACKS_AT_ONCE * ROWS_PER_TRACK]
        means = unit(-(-len(some) // ROWS_PER_TRACK), 1, DIM, device=device)
        rows_of = (means + unit(len(means), ROWS_PER_TRACK, DIM, device=device)).flatten(0, 1)[: len(some)]
        some.copy_(quantised(torch.nn.functional.normalize(rows_of, dim=1), step(DIM)))
    return made


def queries_like(rows: Tensor, probes: int, windows: int) -> Tensor:
    """Vectors [P, n, dim]: rows with noise, other noise for every probe."""
    some = rows[: windows * (len(rows) // windows) : len(rows) // windows].float() * step(DIM)
    return torch.nn.functional.normalize(some + unit(probes, windows, DIM, device=rows.device), dim=2)


class InFloats(ExactSearch):
    """Scores candidates in float32, as it was on a GPU before there was a kernel for them."""

    def _best_in_eight_bits(self, part: slice, block: Any, pairs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self._best_in_floats(part, block.references, pairs)


def searched(rows: Tensor, queries: Tensor, block: int, config: Config, kind: type[ExactSearch] = ExactSearch) -> Hits:
    search = kind(queries, config.search.hits_per_window, config.search.first_pass)
    for start in range(0, len(rows), block):
        search.add(rows[start : start + block], start)
    return search.hits()


def agreement(device: torch.device, config: Config) -> Said:
    """Raises AssertionError if a tenth of the hits of a small search differ from the CPU's, or their cosines do.

    A CPU that does not multiply eight bits fast scores in floats, so that a few probes may differ.
    """
    found = [_agreement(device, config, *shape) for shape in SMALL]
    lines = [[str(number) for number in same.values()] for same in found]
    text = table(" | ".join(found[0]), lines) + f"\n\nThe CPU's first pass: {first_pass_type(torch.device('cpu'))}."
    for same in found:
        assert same["same rows and probes"] >= 0.9 * same["hits"] > 0 and same["cosines differ by"] < 1e-3, text
    return Said(found, text)


def _agreement(device: torch.device, config: Config, count: int, windows: int, probes: int) -> dict[str, float]:
    rows = tracks(count, device)
    queries = queries_like(rows, probes, windows)
    both = [searched(rows.to(d), queries.to(d), 1024, config) for d in (device, torch.device("cpu"))]
    ours, theirs = (dict(zip(zip(h.window, h.row, h.probe, strict=True), h.cosine, strict=True)) for h in both)
    same = ours.keys() & theirs.keys()
    differ = max((abs(float(ours[hit] - theirs[hit])) for hit in same), default=1.0)
    sizes = {"rows": count, "windows": windows, "probes": probes, "hits": len(theirs), "hits here": len(ours)}
    return sizes | {"same rows and probes": len(same), "cosines differ by": differ}


def speed(
    rows: Tensor,
    windows: int,
    config: Config,
    kind: type[ExactSearch] = ExactSearch,
    together: Sequence[int] = QUERY_TRACKS,
) -> Said:
    """Seconds for a tenth of `rows` and for all, in small and in large blocks, for some query tracks `together`."""
    measured = []
    for query_tracks in together:
        queries = queries_like(rows, PROBES, windows * query_tracks)
        searched(rows[: len(rows) // 10], queries, BLOCKS[0], config, kind)  # compiles
        for some in (rows[: len(rows) // 10], rows):
            for block in BLOCKS:
                measured.append(_measured(some, queries, block, query_tracks, config, kind))
    lines = [
        [f"{m.rows:,}", f"{m.block:,}", str(m.query_tracks), f"{m.seconds:.3f}"]
        + [f"{m.query_tracks * m.rows / m.seconds:.3g}", f"{m.pairs_per_second:,.0f}", f"{m.gb:.1f}"]
        for m in measured
    ]
    head = "rows | block | query tracks | seconds | query tracks x rows/s | track pairs/s | GB"
    return Said([asdict(m) | {"pairs_per_second": m.pairs_per_second} for m in measured], table(head, lines))


def _measured(
    rows: Tensor, queries: Tensor, block: int, query_tracks: int, config: Config, kind: type[ExactSearch]
) -> Searched:
    if rows.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(rows.device)
    wait(rows.device)
    started = time.perf_counter()
    hits = searched(rows, queries, block, config, kind)
    wait(rows.device)
    seconds = time.perf_counter() - started
    gb = torch.cuda.max_memory_allocated(rows.device) / 1e9 if rows.device.type == "cuda" else 0.0
    return Searched(len(rows), block, query_tracks, seconds, gb, len(hits.row))


def profile(rows: Tensor, windows: int, block: int, config: Config) -> Said:
    """What takes the time of a search: kernels by the GPU's clock, and calls by the CPU's."""
    queries = queries_like(rows, PROBES, windows)
    searched(rows, queries, block, config)
    wait(rows.device)
    kinds = {torch.profiler.ProfilerActivity.CPU}
    if rows.device.type == "cuda":
        kinds.add(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=kinds) as kept:
        started = time.perf_counter()
        searched(rows, queries, block, config)
        wait(rows.device)
        wall = time.perf_counter() - started
    events: Any = kept.key_averages()
    kernels = [e for e in events if e.device_type == torch.autograd.DeviceType.CUDA]
    on_gpu, on_cpu = _by(kernels, lambda e: e.self_device_time_total), _by(events, lambda e: e.self_cpu_time_total)
    busy = sum(seconds for _, _, seconds in on_gpu)
    text = (
        f"{len(rows):,} rows in blocks of {block:,}: {wall:.3f} s with the profiler, the GPU is busy for {busy:.3f} s."
    )
    for head, some in (("kernel", on_gpu[:12]), ("call on the CPU", on_cpu[:8])):
        lines = [[name[:90].replace("|", "/"), str(count), f"{1000 * seconds:.2f}"] for name, count, seconds in some]
        text += "\n\n" + table(f"{head} | times | ms", lines)
    return Said({"wall": wall, "busy": busy, "kernels": on_gpu[:12], "calls": on_cpu[:8]}, text)


def _by(events: list[Any], time_us: Callable[[Any], float]) -> list[tuple[str, int, float]]:
    """Name, count and seconds of events, longest first."""
    return sorted(((e.key, e.count, time_us(e) / 1e6) for e in events), key=lambda line: -line[2])
