"""Inverted lists: rows in eight bits, sorted by the nearest of several thousand centres.

A query vector is compared only with the lists whose centres are nearest to it. Many vectors are searched together, so
that each list is one dense product with all that want it. As in the first pass of the exact search, the leading
dimensions select pairs; only these are scored in full.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from asid_core.matching.eight_bits import ROWS_AT_ONCE, quantised

SAMPLE_ROWS = 64  # rows per list from which the centres are learnt
ROUNDS = 8  # of k-means
UNIT = 1 / 127  # quantisation step of centres
TILE = 2048 * 1024  # scores at once; 8 MB stay in the cache
PAIRS = 1 << 16  # scored in full at once; 32 MB of rows at 256 dimensions
WANTED = 1 << 25  # lists of all vectors that are searched together; half a gigabyte while they are sorted


@dataclass(frozen=True)
class Found:
    """Pairs of a query vector and a row whose leading dimensions exceed the vector's floor, as columns [h]."""

    vector: Tensor  # int64, number of the query vector
    row: Tensor  # int64, number of the row as it was given
    score: Tensor  # int32, product of the whole codes


@dataclass(frozen=True)
class InvertedLists:
    """Rows of a table, sorted by list and in each list by number. List i is rows[edges[i]:edges[i + 1]]."""

    table: Tensor  # int8 [m, dim]
    centres: Tensor  # int8 [lists, leading], unit vectors
    rows: Tensor  # int64 [k], numbers of rows of the table
    leading: Tensor  # int8 [k, leading], their leading dimensions
    edges: np.ndarray  # int64 [lists + 1]

    @classmethod
    def of(cls, table: Tensor, leading: int, lists: int, stride: int = 1, seed: int = 0) -> InvertedLists:
        """Sort every `stride`-th row of codes [m, dim] by its leading dimensions into `lists` lists; some may be empty.

        Rows of zeros (silence) are left out.
        """
        loud = table[::stride].any(1).nonzero()[:, 0] * stride
        codes = table[loud, :leading]
        generator = torch.Generator().manual_seed(seed)
        some = torch.randperm(len(codes), generator=generator)[: SAMPLE_ROWS * lists]
        centres = learnt(codes[some], lists, generator)
        chosen = nearest(codes, centres, 1)[:, 0]
        order = chosen.argsort(stable=True)
        edges = np.searchsorted(chosen[order].numpy(), np.arange(len(centres) + 1))
        return cls(table, centres, loud[order], codes[order], edges)

    def search(self, queries: Tensor, floors: Tensor, probed: int, before: Tensor | None = None) -> Iterator[Found]:
        """All pairs of a vector and a row, in its `probed` nearest lists, whose leading dimensions exceed its floor.

        queries: codes [n, dim]. floors: int32 [n]. before: int64 [n], the first row that each vector is not compared
        with; None: all rows are compared.
        """
        size = max(1, WANTED // max(probed, 1))
        for start in range(0, len(queries), size):
            part = slice(start, start + size)
            vector, place, score = self._together(
                queries[part], floors[part], probed, None if before is None else int(before[part].max())
            )
            vector, row = vector + start, self.rows[place]
            if before is not None:
                kept = (row < before[vector]).nonzero()[:, 0]
                vector, row, score = vector[kept], row[kept], score[kept]
            for some in zip(*(column.split(PAIRS) for column in (vector, row, score)), strict=True):
                yield self._scored(queries, *some)

    def _scored(self, queries: Tensor, vector: Tensor, row: Tensor, score: Tensor) -> Found:
        """The pairs, scored in full. score: of the leading dimensions."""
        # whole rows, because index_select copies them much faster than indexing
        sides = (self.table.index_select(0, row), queries.index_select(0, vector))
        rest = products(*(side[:, self.centres.shape[1] :] for side in sides))
        return Found(vector, row, score + rest)

    def _together(
        self, queries: Tensor, floors: Tensor, probed: int, before: int | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(vector, place in `rows`, product of the leading dimensions) of all pairs above the floor, by list."""
        vectors, edges = self._by_list(queries, probed)
        columns = queries[:, : self.centres.shape[1]].contiguous()
        none = torch.zeros(0, dtype=torch.int64)
        parts = [(none, none, none.int())]
        memory = torch.empty(TILE, dtype=torch.int32)
        for which in range(len(self.centres)):
            mine = vectors[edges[which] : edges[which + 1]]
            start, stop = self.edges[which : which + 2].tolist()
            if before is not None:
                stop = start + int(torch.searchsorted(self.rows[start:stop], before))
            if stop > start and len(mine):
                parts += self._above(columns, floors, mine, start, stop, memory)
        vector, place, score = (torch.cat(column) for column in zip(*parts, strict=True))
        return vector, place, score

    def _by_list(self, queries: Tensor, probed: int) -> tuple[Tensor, list[int]]:
        """The vectors that each list is compared with: of list i, those from edges[i] to edges[i + 1]."""
        wanted = self._wanted(queries, probed)
        # 16 bits are sorted several times as fast
        narrow = wanted.flatten().numpy().astype(np.min_scalar_type(len(self.centres)))
        order = narrow.argsort(kind="stable")
        edges = np.searchsorted(narrow[order], np.arange(len(self.centres) + 1, dtype=narrow.dtype))
        order //= wanted.shape[1]
        return torch.from_numpy(order), edges.tolist()

    def _above(
        self, columns: Tensor, floors: Tensor, vectors: Tensor, start: int, stop: int, memory: Tensor
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """As `_together`, of `vectors` and the places start to stop, in tiles. columns: leading dimensions [n, d].

        memory: int32 [TILE]. Fresh memory for each tile would take as long as the product.
        """
        size = max(1, TILE // (stop - start))
        for some in vectors.split(size):
            mine, least = columns.index_select(0, some).T, floors[some].numpy()
            for first in range(start, stop, TILE):
                rows = self.leading[first : min(first + TILE, stop)]
                into = memory[: len(rows) * len(some)].view(len(rows), len(some))
                scores = torch._int_mm(rows, mine, out=into)
                # both steps are several times as fast in NumPy
                at = torch.from_numpy(np.flatnonzero(scores.numpy() > least))
                yield some[at % len(some)], at // len(some) + first, scores.flatten()[at]

    def work(self, queries: Tensor, probed: int) -> int:
        """Multiply-adds of a search, but for scoring in full: products with the centres and the rows of the lists."""
        compared = int(torch.from_numpy(np.diff(self.edges))[self._wanted(queries, probed)].sum())
        return (compared + len(queries) * len(self.centres)) * self.centres.shape[1]

    def _wanted(self, queries: Tensor, probed: int) -> Tensor:
        """The lists that each vector is compared with: int64 [n, at most `probed`]."""
        return nearest(queries[:, : self.centres.shape[1]], self.centres, min(probed, len(self.centres)))


def lists_for(rows: int) -> int:
    """Number of lists, a power of two near 4 sqrt(rows)."""
    return int(2 ** round(np.log2(4 * max(rows, 1) ** 0.5)))


def products(some: Tensor, others: Tensor) -> Tensor:
    """Product of each pair of codes [h, d]: int32 [h]."""
    result = torch.empty(len(some), dtype=torch.int32)
    parts = (column.split(ROWS_AT_ONCE) for column in (some, others, result))
    for one, other, into in zip(*parts, strict=True):
        into[:] = (one.float() * other.float()).sum(1)  # below 2^24, so float32 is exact
    return result


def learnt(codes: Tensor, lists: int, generator: torch.Generator) -> Tensor:
    """Centres int8 [at most `lists`, d] of rows [m, d]: k-means by direction. An empty list keeps its centre."""
    centres = quantised(normalize(codes[torch.randperm(len(codes), generator=generator)[:lists]].float()), UNIT)
    for _ in range(ROUNDS):
        sums = torch.zeros(centres.shape).index_add_(0, nearest(codes, centres, 1)[:, 0], codes.float())
        moved = quantised(normalize(sums), UNIT)
        centres = torch.where(moved.any(1, keepdim=True), moved, centres)
    return centres


def nearest(codes: Tensor, centres: Tensor, count: int) -> Tensor:
    """The `count` centres, all unit vectors, nearest in direction to each row, in any order: int32 [n, count]."""
    chosen = torch.empty(len(codes), count, dtype=torch.int32)
    if not chosen.numel():
        return chosen
    size = max(1, TILE // len(centres))
    memory = torch.empty(min(size, len(codes)), len(centres), dtype=torch.int32)
    for some, into in zip(codes.split(size), chosen.split(size), strict=True):
        scores = torch._int_mm(some.contiguous(), centres.T, out=memory[: len(some)])
        if count == 1:
            into[:] = scores.argmax(1, keepdim=True)
        else:  # twice as fast as torch's topk
            into[:] = torch.from_numpy(np.argpartition(scores.numpy(), -count, axis=1)[:, -count:])
    return chosen
