"""The GPU kernel of the first pass: whether it is right, how fast the card could be, and how fast the kernel is."""

from __future__ import annotations

import traceback
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from asid_core.matching.eight_bits import quantised, step
from asid_core.matching.fused import TILES, Tiles, best_in_groups, fitting
from benchmarks.lib.steps import Said, median_s, table, unit, wait

RIGHT_ROWS, RIGHT_WINDOWS = (1, 1000, 4099), (1, 13)
RIGHT_VECTORS = [(1, 128, 16), (9, 256, 16), (75, 128, 8), (225, 128, 8), (225, 256, 16)]  # probes, dims, group
TRIED = [
    TILES,
    Tiles(stages=2),
    Tiles(stages=1),
    Tiles(runs=50),
    Tiles(runs=1),
    Tiles(256, 4),
    Tiles(256, 8),
    Tiles(256, 8, warps=16),
    Tiles(64, 8, warps=4),
    Tiles(128, 4, warps=4),
    Tiles(128, 4, 32),
    Tiles(128, 32, 4),
]


def codes(count: int, dims: int, device: torch.device) -> Tensor:
    """Random unit vectors in eight bits."""
    return torch.cat([quantised(unit(len(part), dims, device=device), step(dims)) for part in _parts(count)])


def _parts(count: int) -> list[range]:
    return [range(start, min(start + 2**20, count)) for start in range(0, count, 2**20)]


def expected(rows: Tensor, queries: Tensor, probes: int, group: int) -> Tensor:
    """What the kernel must write, on the CPU: [groups, n]. Doubles are exact here, and faster than int32."""
    scores = (rows.cpu().double() @ queries.cpu().double().T).int()
    best = scores.unflatten(1, (-1, probes)).amax(2)
    return torch.nn.functional.pad(best, (0, 0, 0, -len(best) % group), value=-1).unflatten(0, (-1, group)).amax(1)


def equality(device: torch.device, most_rows: int) -> Said:
    """Raises AssertionError if the kernel differs from the CPU."""
    lines = []
    for probes, dims, group in RIGHT_VECTORS:
        worst = 0
        for rows in (min(rows, most_rows) for rows in RIGHT_ROWS):
            for windows in RIGHT_WINDOWS:
                left, right = codes(rows, dims, device), codes(windows * probes, dims, device)
                best = torch.full((-(-rows // group), windows), 7, dtype=torch.int32, device=device)
                best_in_groups(left, right, probes, group, best)
                worst = max(worst, int((best.cpu() - expected(left, right, probes, group)).abs().max()))
        lines.append([str(probes), str(dims), str(group), str(worst)])
    text = table("probes | dimensions | rows in a group | largest difference", lines)
    assert all(line[-1] == "0" for line in lines), text
    return Said([[int(cell) for cell in line] for line in lines], text)


def ceiling(device: torch.device, edge: int) -> Said:
    """What torch reaches in a product of two square matrices, in 10^12 operations a second."""
    bits = [torch.randint(-127, 128, (edge, edge), device=device, dtype=torch.int8) for _ in range(2)]
    floats = [torch.randn(edge, edge, device=device, dtype=torch.bfloat16) for _ in range(2)]
    calls = {"int8": lambda: torch._int_mm(bits[0], bits[1].T), "bfloat16": lambda: floats[0] @ floats[1].T}
    rates = {name: 2e-12 * edge**3 / median_s(call, device, 10) for name, call in calls.items()}
    return Said(rates, table("product | TOP/s", [[name, f"{rate:.0f}"] for name, rate in rates.items()]))


def speed(device: torch.device, rows: int, windows: int, probes: int, most: float | None) -> Said:
    """The kernel with different tiles, and at the sizes of a block of a sweep. most: the card's ceiling in TOP/s."""
    queries, measured = codes(windows * probes, 128, device), []
    table_rows = codes(rows, 128, device)
    for tiles in TRIED:
        measured.append(_timed("first pass", table_rows, queries, probes, 8, tiles, most))
    block = table_rows[:32_768]
    measured.append(_timed("first pass, block of 65,536", block, queries, probes, 8, TILES, most))
    whole, some = codes(windows * probes, 256, device), codes(min(rows, 2048), 256, device)
    measured.append(_timed("background", some, whole, probes, 16, fitting(probes, 256), most))
    head = "work | rows at once | windows x probes at once | runs | warps | stages | ms | TOP/s | share of the ceiling"
    return Said(measured, table(head, [_line(figures) for figures in measured]))


def _line(figures: dict[str, Any]) -> list[str]:
    start = [
        figures["work"],
        *(str(figures[name]) for name in ("rows",)),
        f"{figures['windows']} x {figures['probes']}",
    ]
    start += [str(figures[name]) for name in ("runs", "warps", "stages")]
    if "error" in figures:
        return [*start, figures["error"], "", ""]
    share = "" if figures["share"] is None else f"{figures['share']:.0%}"
    return [*start, f"{1000 * figures['seconds']:.2f}", f"{figures['tops']:.0f}", share]


def _timed(
    work: str, rows: Tensor, queries: Tensor, probes: int, group: int, tiles: Tiles, most: float | None
) -> dict[str, Any]:
    """Figures of one measurement. Tiles that do not compile, or are too large for the card, say so."""
    best = torch.empty(-(-len(rows) // group), len(queries) // probes, dtype=torch.int32, device=rows.device)
    try:
        seconds = median_s(lambda: best_in_groups(rows, queries, probes, group, best, tiles), rows.device, 5)
        wait(rows.device)
    except Exception as error:
        if isinstance(error, TimeoutError):
            raise
        print(traceback.format_exc(limit=2))
        return {"work": work, **asdict(tiles), "error": type(error).__name__}
    tops = 2e-12 * len(rows) * len(queries) * rows.shape[1] / seconds
    share = tops / most if most else None
    return {"work": work, **asdict(tiles), "seconds": seconds, "tops": tops, "share": share}
