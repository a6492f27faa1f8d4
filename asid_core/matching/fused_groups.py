"""Scores candidate groups of rows on a GPU: the best probe of every row of each, in eight bits, in one kernel."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from asid_core.matching.fused import LEAST_DIMS, MOST_DIMS

WARPS, STAGES = 8, 3


@triton.jit(do_not_specialize=["num_rows"])
def groups_kernel(  # type: ignore[no-untyped-def]
    rows,
    queries,
    groups,
    windows,
    starts,
    counts,
    scores,
    probes,
    num_rows,
    PROBES: tl.constexpr,
    DIMS: tl.constexpr,
    GROUP: tl.constexpr,
    TILE_ROWS: tl.constexpr,
    TILE_PROBES: tl.constexpr,
    TILE_DIMS: tl.constexpr,
):
    """One program: the best scores and probes of the rows of some groups, all candidates of one window."""
    start, count = tl.load(starts + tl.program_id(0)), tl.load(counts + tl.program_id(0))
    first_row = tl.program_id(1) * TILE_ROWS  # among the rows of the window's groups
    if first_row < count * GROUP:
        at, dim = first_row + tl.arange(0, TILE_ROWS), tl.arange(0, TILE_DIMS)
        group = tl.load(groups + start + tl.minimum(at // GROUP, count - 1))
        row = tl.minimum(group * GROUP + at % GROUP, num_rows - 1)  # the last row stands in for those that are missing
        from_row = rows + row[:, None].to(tl.int64) * DIMS
        left = tl.load(from_row + dim[None, :], mask=dim[None, :] < DIMS, other=0)
        from_window = queries + tl.load(windows + tl.program_id(0)) * (PROBES * DIMS)
        highest, which = tl.full([TILE_ROWS], -(2**31), tl.int32), tl.zeros([TILE_ROWS], tl.int32)
        for first in range(0, PROBES, TILE_PROBES):
            probe = tl.minimum(first + tl.arange(0, TILE_PROBES), PROBES - 1)
            right = tl.load(from_window + probe[None, :] * DIMS + dim[:, None], mask=dim[:, None] < DIMS, other=0)
            best, place = tl.max(tl.dot(left, right, out_dtype=tl.int32), 1, return_indices=True)
            which = tl.where(best > highest, first + place, which)
            highest = tl.maximum(highest, best)
        tl.store(scores + start * GROUP + at, highest, mask=at < count * GROUP)
        tl.store(probes + start * GROUP + at, which, mask=at < count * GROUP)


def constants(probes: int, dims: int, group: int) -> dict[str, int]:
    """What the kernel is compiled for. Vectors of MOST_DIMS leave a tile half the room."""
    wide = dims > MOST_DIMS // 2
    tiles = {"TILE_ROWS": 64 if wide else 128, "TILE_PROBES": 32 if wide else 64}
    padded = max(LEAST_DIMS, int(triton.next_power_of_2(dims)))
    return {"PROBES": probes, "DIMS": dims, "GROUP": group, "TILE_DIMS": padded} | tiles


def best_in_candidates(rows: Tensor, queries: Tensor, probes: int, group: int, pairs: Tensor) -> tuple[Tensor, Tensor]:
    """(score, probe), each int32 [p, group], of each row of the (window, group) `pairs` [p, 2], sorted by window.

    rows: int8 [m, d], d up to MOST_DIMS. queries: int8 [n * probes, d], those of a window consecutive. All are
    contiguous and on one GPU.
    """
    windows, counts = pairs[:, 0].unique_consecutive(return_counts=True)
    scores, best = torch.empty(2, len(pairs), group, dtype=torch.int32, device=rows.device)
    sizes = constants(probes, rows.shape[1], group)
    grid = (len(windows), int(triton.cdiv(int(counts.max()) * group, sizes["TILE_ROWS"])))
    of_window = (pairs[:, 1].contiguous(), windows, counts.cumsum(0) - counts, counts)
    with torch.cuda.device_of(rows):
        groups_kernel[grid](
            rows, queries, *of_window, scores, best, len(rows), **sizes, num_warps=WARPS, num_stages=STAGES
        )
    return scores, best
