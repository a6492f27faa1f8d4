"""Measures the coarse search on a GPU: the kernel of its first pass, and the search as a sweep does it.

It needs no Ray and no LanceDB, so that it runs on a bare machine with torch: figures go to $OUT/gpu.json, from which
`--write` makes the section of RESULTS.md elsewhere.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from asid_core import config as configs
from benchmarks.lib import gpu_search, kernel_speed
from benchmarks.lib.results import machine, write_section
from benchmarks.lib.steps import Said, attempt, table

COMMAND = "OUT=out .venv/bin/python -m benchmarks.gpu"
CATALOGUES = (10_000, 100_000)


def extrapolated(found: dict[str, Any], windows: int) -> Said:
    """Hours for whole catalogues at the best rate measured. Nothing of this size was searched."""
    rate = max(m["pairs_per_second"] for m in found["Search"]["figures"])
    hours = {count: count * (count - 1) / 2 / rate / 3600 for count in CATALOGUES}
    head = "tracks | pairs of tracks | hours on one GPU"
    lines = [[f"{count:,}", f"{count * (count - 1) // 2:,}", f"{time:.2f}"] for count, time in hours.items()]
    text = (
        f"Extrapolated from {rate:,.0f} pairs a second, each pair once, {gpu_search.ROWS_PER_TRACK:,} rows and "
        f"{windows} query windows a track. Not measured: only the coarse search of every row, with the rows already on "
        f"the GPU (a sweep of more than 20 million rows counts votes instead).\n\n{table(head, lines)}"
    )
    return Said({str(count): time for count, time in hours.items()}, text)


def measured(device: torch.device, rows: int, windows: int, found: dict[str, Any]) -> None:
    """All steps, into `found`, which is written after each."""
    config, kernel_rows = configs.load("discriminant"), min(rows, 2**20)
    small = device.type != "cuda"

    def step(name: str, seconds: int, call: Any) -> None:
        found[name] = attempt(name, seconds, call)
        save(found)

    table_rows = functools.cache(lambda: gpu_search.tracks(rows, device))
    step("Ceiling", 15, lambda: kernel_speed.ceiling(device, 256 if small else 8192))
    step("Equality with the CPU", 30, lambda: kernel_speed.equality(device, kernel_rows))
    step("Agreement of the search with the CPU's", 20, lambda: gpu_search.agreement(device, config))
    step("Search", 40, lambda: gpu_search.speed(table_rows(), windows, config))
    for block, part in zip(gpu_search.BLOCKS, (rows // 10, rows), strict=True):
        profile = functools.partial(gpu_search.profile, windows=windows, block=block, config=config)
        step(f"Profile, blocks of {block:,}", 20, lambda n=part, p=profile: p(table_rows()[:n]))
    floats = functools.partial(
        gpu_search.speed, windows=windows, config=config, kind=gpu_search.InFloats, together=(1,)
    )
    step("Search, candidates in floats", 20, lambda: floats(table_rows()))
    most = found["Ceiling"].get("figures", {}).get("int8")
    for probes in (75, 225):
        speed = functools.partial(kernel_speed.speed, device, kernel_rows, windows, probes, most)
        step(f"Kernel, {probes} probes", 40, speed)
    step("Extrapolation", 5, lambda: extrapolated(found, windows))


def save(found: dict[str, Any]) -> None:
    if "OUT" in os.environ:
        Path(os.environ["OUT"], "gpu.json").write_text(json.dumps(found, indent=1) + "\n")


def card(device: torch.device) -> str:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "no GPU"
    return f"torch {torch.__version__}, Python {platform.python_version()}; {name}; {machine()}"


def section(found: dict[str, Any]) -> str:
    """The text of RESULTS.md."""
    steps = [(name, step) for name, step in found.items() if isinstance(step, dict)]
    parts = [f"### {name}\n\n{step.get('text', 'It failed.')}" for name, step in steps]
    return "\n\n".join([f"Measured on {found['on']}, {found['at']}.", *parts])


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--device", default="cuda", help="cpu tries the steps at small sizes")
    parser.add_argument("--rows", type=int, default=10**7, help="of the largest table")
    parser.add_argument("--windows", type=int, default=400, help="of a query track")
    parser.add_argument("--write", metavar="FILE", type=Path, help="write RESULTS.md from the gpu.json of another run")
    args = parser.parse_args(argv)
    if args.write:
        write_section("Coarse search on a GPU", COMMAND, section(json.loads(args.write.read_text())))
        return 0
    device = torch.device(args.device)
    found: dict[str, Any] = {"on": card(device), "at": time.strftime("%Y-%m-%d", time.gmtime())}
    print(found["on"])
    measured(device, args.rows, args.windows, found)
    return int(any("error" in step for step in found.values() if isinstance(step, dict)))


if __name__ == "__main__":
    sys.exit(main())
