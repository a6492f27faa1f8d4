"""The first pass of the coarse search on a GPU: product and maximum in one kernel, so scores never reach memory."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

TILE_ROWS, TILE_PROBES, TILE_DIMS = 128, 64, 64
_LOWEST = tl.constexpr(-(2**31))


@triton.jit
def best_kernel(  # type: ignore[no-untyped-def]
    rows,
    queries,
    best,
    num_rows,
    num_groups,
    num_windows,
    PROBES: tl.constexpr,
    DIMS: tl.constexpr,
    GROUP: tl.constexpr,
    TILE_ROWS: tl.constexpr,
    TILE_PROBES: tl.constexpr,
    TILE_DIMS: tl.constexpr,
):
    """One program: the best scores of TILE_ROWS rows, in groups, for all probes of one window."""
    tile, window = tl.program_id(0), tl.program_id(1)
    row = tile * TILE_ROWS + tl.arange(0, TILE_ROWS)
    from_row = rows + row[:, None].to(tl.int64) * DIMS
    highest = tl.full([TILE_ROWS], _LOWEST, tl.int32)
    for first in range(0, PROBES, TILE_PROBES):
        probe = first + tl.arange(0, TILE_PROBES)
        from_query = queries + (window.to(tl.int64) * PROBES + probe[None, :]) * DIMS
        scores = tl.zeros([TILE_ROWS, TILE_PROBES], tl.int32)
        for start in range(0, DIMS, TILE_DIMS):
            dim = start + tl.arange(0, TILE_DIMS)
            in_rows = (row[:, None] < num_rows) & (dim[None, :] < DIMS)
            in_queries = (probe[None, :] < PROBES) & (dim[:, None] < DIMS)
            left = tl.load(from_row + dim[None, :], mask=in_rows, other=0)
            right = tl.load(from_query + dim[:, None], mask=in_queries, other=0)
            scores += tl.dot(left, right, out_dtype=tl.int32)
        scores = tl.where(probe[None, :] < PROBES, scores, _LOWEST)
        highest = tl.maximum(highest, tl.max(scores, 1))
    highest = tl.where(row < num_rows, highest, -1)  # rows that the last group lacks
    group = tile * (TILE_ROWS // GROUP) + tl.arange(0, TILE_ROWS // GROUP)
    into = best + group.to(tl.int64) * num_windows + window
    tl.store(into, tl.max(tl.reshape(highest, [TILE_ROWS // GROUP, GROUP]), 1), mask=group < num_groups)


def best_in_groups(rows: Tensor, queries: Tensor, probes: int, group: int, best: Tensor) -> None:
    """Write the best score of each window in each group of `group` rows to `best`, int32 [groups, n].

    rows: int8 [m, d]. queries: int8 [n * probes, d], those of a window consecutive. group: a power of two, at most
    TILE_ROWS. All tensors are contiguous and on one GPU.
    """
    grid = (triton.cdiv(len(rows), TILE_ROWS), len(queries) // probes)
    groups, windows = best.shape
    tiles = {"TILE_ROWS": TILE_ROWS, "TILE_PROBES": TILE_PROBES, "TILE_DIMS": TILE_DIMS}
    shape = {"PROBES": probes, "DIMS": rows.shape[1], "GROUP": group}
    with torch.cuda.device_of(rows):
        best_kernel[grid](rows, queries, best, len(rows), groups, windows, **shape, **tiles)
