"""The first pass of the coarse search on a GPU: product and maximum in one kernel, so scores never reach memory."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import triton
import triton.language as tl
from torch import Tensor

MOST_DIMS, LEAST_DIMS = 512, 32  # in one product; tensor cores multiply at least 32 numbers of eight bits
SHARED_BYTES = 96 * 1024  # for the tiles: any card of today has them, and large ones twice


@dataclass(frozen=True)
class Tiles:
    """What one program compares, and how. All are powers of two, except `runs` and `stages`."""

    rows: int = 128
    windows: int = 8  # compared at once; at least 4
    probes: int = 16  # of each of these windows; at least 2
    runs: int = 10  # times `windows` that a program compares, one after another, with the same rows
    warps: int = 8
    stages: int = 3  # tiles of queries on the way to the tensor cores


TILES = Tiles()


def fitting(probes: int, dims: int, tiles: Tiles = TILES) -> Tiles:
    """Tiles no larger than `tiles` that suit few probes, and that fit into SHARED_BYTES."""
    while tiles.probes > max(probes, 2) and tiles.probes // 2 >= probes:
        tiles = replace(tiles, probes=tiles.probes // 2, windows=tiles.windows * 2)
    while (tiles.rows + tiles.stages * tiles.windows * tiles.probes) * _tile_dims(dims) > SHARED_BYTES:
        if tiles.windows > 4:
            tiles = replace(tiles, windows=tiles.windows // 2)
        elif tiles.rows > 64:
            tiles = replace(tiles, rows=tiles.rows // 2)
        else:
            tiles = replace(tiles, probes=tiles.probes // 2)
    return tiles


def constants(probes: int, dims: int, group: int, tiles: Tiles) -> dict[str, int]:
    """What the kernel is compiled for."""
    of_tiles = {"TILE_ROWS": tiles.rows, "TILE_WINDOWS": tiles.windows, "TILE_PROBES": tiles.probes, "RUNS": tiles.runs}
    return {"PROBES": probes, "DIMS": dims, "GROUP": group, "TILE_DIMS": _tile_dims(dims)} | of_tiles


def _tile_dims(dims: int) -> int:
    return int(min(MOST_DIMS, max(LEAST_DIMS, triton.next_power_of_2(dims))))


@triton.jit
def best_of_windows(scores, ROWS: tl.constexpr, WINDOWS: tl.constexpr, PROBES: tl.constexpr):  # type: ignore[no-untyped-def]
    """The best score of each row and window: [ROWS, WINDOWS]. Columns of `scores` are in the order of `best_kernel`."""
    apart = tl.reshape(scores, [ROWS, WINDOWS // 4, PROBES // 2, 4, 2])
    return tl.reshape(tl.max(tl.max(apart, 4), 2), [ROWS, WINDOWS])


@triton.jit(do_not_specialize=["num_rows", "num_groups", "num_windows"])
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
    TILE_WINDOWS: tl.constexpr,
    TILE_PROBES: tl.constexpr,
    TILE_DIMS: tl.constexpr,
    RUNS: tl.constexpr,
):
    """One program: the best scores of TILE_ROWS rows, in groups, for all probes of RUNS * TILE_WINDOWS windows.

    The row tile is loaded once and stays. The last window or probe stands in for those that a tile lacks. A thread gets
    columns 0, 1, 8, 9, 16... of a product, or 2, 3, 10, 11..., so these are probes of one window: the maximum over
    probes needs no other thread.
    """
    tile, first_window = tl.program_id(0), tl.program_id(1) * (RUNS * TILE_WINDOWS)
    row, dim = tile * TILE_ROWS + tl.arange(0, TILE_ROWS), tl.arange(0, TILE_DIMS)
    from_row, valid = rows + row[:, None].to(tl.int64) * DIMS, row[:, None] < num_rows
    left = tl.load(from_row + dim[None, :], mask=valid & (dim[None, :] < DIMS), other=0)
    column = tl.arange(0, TILE_WINDOWS * TILE_PROBES)
    of_window = column // (4 * TILE_PROBES) * 4 + column // 2 % 4
    of_probe = column // 8 % (TILE_PROBES // 2) * 2 + column % 2
    group = tile * (TILE_ROWS // GROUP) + tl.arange(0, TILE_ROWS // GROUP)[:, None]
    into = best + group.to(tl.int64) * num_windows
    for run in range(RUNS):
        start = first_window + run * TILE_WINDOWS
        if start < num_windows:
            window = tl.minimum(start + of_window, num_windows - 1)
            from_window = queries + window[None, :].to(tl.int64) * (PROBES * DIMS)
            highest = tl.full([TILE_ROWS, TILE_WINDOWS], -(2**31), tl.int32)
            for first in range(0, PROBES, TILE_PROBES):
                from_query = from_window + tl.minimum(first + of_probe, PROBES - 1)[None, :] * DIMS
                right = tl.load(from_query + dim[:, None], mask=dim[:, None] < DIMS, other=0)
                scores = tl.dot(left, right, out_dtype=tl.int32)
                for later in tl.static_range(TILE_DIMS, DIMS, TILE_DIMS):  # none, unless vectors are very long
                    more = later + dim
                    rest = tl.load(from_row + more[None, :], mask=valid & (more[None, :] < DIMS), other=0)
                    right = tl.load(from_query + more[:, None], mask=more[:, None] < DIMS, other=0)
                    scores = tl.dot(rest, right, scores, out_dtype=tl.int32)
                highest = tl.maximum(highest, best_of_windows(scores, TILE_ROWS, TILE_WINDOWS, TILE_PROBES))
            highest = tl.where(valid, highest, -1)  # rows that the last group lacks
            highest = tl.max(tl.reshape(highest, [TILE_ROWS // GROUP, GROUP, TILE_WINDOWS]), 1)
            column_of = start + tl.arange(0, TILE_WINDOWS)[None, :]
            tl.store(into + column_of, highest, mask=(group < num_groups) & (column_of < num_windows))


def best_in_groups(
    rows: Tensor, queries: Tensor, probes: int, group: int, best: Tensor, tiles: Tiles | None = None
) -> None:
    """Write the best score of each window in each group of `group` rows to `best`, int32 [groups, n].

    rows: int8 [m, d]. queries: int8 [n * probes, d], those of a window consecutive. group: a power of two, at most 64.
    All tensors are contiguous and on one GPU. tiles: used as they are (default: those that fit).
    """
    dims = rows.shape[1]
    tiles = tiles or fitting(probes, dims)
    groups, windows = best.shape
    grid = (triton.cdiv(len(rows), tiles.rows), triton.cdiv(windows, tiles.runs * tiles.windows))
    how = {"num_warps": tiles.warps, "num_stages": tiles.stages}
    with torch.cuda.device_of(rows):
        best_kernel[grid](
            rows, queries, best, len(rows), groups, windows, **constants(probes, dims, group, tiles), **how
        )
