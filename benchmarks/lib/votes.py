"""Rankings of tracks by the exact search, in a table that grows, and by votes; what each of them costs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from asid_core.matching.align import align
from asid_core.matching.coarse import GROUP, ExactSearch, Hits
from asid_core.matching.inverted_lists import InvertedLists
from asid_core.matching.votes import ListSearch, best_tracks
from benchmarks.lib.kept import Ranked
from benchmarks.lib.synthetic import Query
from benchmarks.lib.wild_rows import Rows, WildRows
from pipelines.search.exact import BLOCK_ROWS, divided
from pipelines.search.voted import VOTE_GROUPS, cohort

BATCH = 27  # query tracks searched together; their vectors take 250 MB


@dataclass(frozen=True)
class Ranking:
    """Ranked tracks of each query, and what it took to find them, for all queries together."""

    ranked: list[Ranked]
    hits: int
    work: float  # multiply-adds
    seconds: float  # of one core


class Counted(ExactSearch):
    """An exact search that counts its multiply-adds: first pass and scoring of groups, without the background."""

    work = 0.0

    def _refine(self, part, block, pairs, first_row):  # type: ignore[no-untyped-def]
        self.work += (part.stop - part.start) * self.first_pass_probes * block.chosen.numel()
        self.work += len(pairs) * GROUP * self.probes * self.dim
        super()._refine(part, block, pairs, first_row)


class ExactRanks:
    """The exact search of all queries in a growing table."""

    def __init__(self, wild: WildRows) -> None:
        self._wild, self._seconds, self._rows = wild, 0.0, 0
        keep, first_pass = wild.config.search.hits_per_window, wild.config.first_pass
        self._searches = [
            Counted(torch.cat([query.vectors for query in batch], 1), keep, first_pass) for batch in batches(wild)
        ]

    def grow(self, rows: Rows) -> Ranking:
        """Search the rows that were not there before. The ranking of each query among all, and the work so far."""
        started = time.process_time()
        for search in self._searches:
            for start in range(self._rows, len(rows.codes), BLOCK_ROWS):
                search.add(rows.codes[start : start + BLOCK_ROWS], start)
        self._rows, self._seconds = len(rows.codes), self._seconds + time.process_time() - started
        work = sum(search.work for search in self._searches)
        hits = [
            (part, query)
            for search, batch in zip(self._searches, batches(self._wild), strict=True)
            for part, query in by_query(search.hits(), batch)
        ]
        ranked = [self._ranked(part, query.centres_s, rows) for part, query in hits]
        return Ranking(ranked, sum(len(part.row) for part, _ in hits), work, self._seconds)

    def _ranked(self, hits: Hits, centres_s: np.ndarray, rows: Rows) -> Ranked:
        config, references = self._wild.config, self._wild.references
        every = replace(config.search, verify_tracks=int(rows.track.max()) + 1, places_per_track=1)
        lines = align(hits, centres_s, config.probes.grid, rows.track, rows.centre_s, references.window_s, every)
        return Ranked(np.array([x.reference for x in lines]), np.array([x.coarse_score for x in lines]))


def voted(wild: WildRows, rows: Rows, lists: int, probed: Sequence[int]) -> Iterator[Ranking]:
    """Rankings by votes for each number of probed lists. The lists hold what the exact search's first pass compares."""
    first, grid = wild.config.first_pass, wild.config.probes.grid
    search = ListSearch(InvertedLists.of(rows.codes, first.dims, lists, first.stride), cohort(rows.codes, VOTE_GROUPS))
    some = first.compared(len(grid))
    for count in probed:
        seconds, work, found, ranked = 0.0, 0.0, 0, []
        for batch in batches(wild):
            vectors = torch.cat([query.vectors[some] for query in batch], 1)
            started = time.process_time()
            hits = search.hits(vectors, count)
            for part, query in by_query(hits, batch):
                ranked.append(Ranked(*best_tracks(part, query.centres_s, grid[some], rows.track, rows.centre_s)))
            seconds += time.process_time() - started
            found, work = found + len(hits.row), work + search.work(vectors, count)
        yield Ranking(ranked, found, work, seconds)


def batches(wild: WildRows) -> Iterator[list[Query]]:
    """The queries that are searched together."""
    for start in range(0, len(wild.queries), BATCH):
        yield wild.queries[start : start + BATCH]


def by_query(hits: Hits, batch: Sequence[Query]) -> Iterator[tuple[Hits, Query]]:
    """The hits of each query of a batch."""
    yield from zip(divided(hits, [len(query.centres_s) for query in batch]), batch, strict=True)
