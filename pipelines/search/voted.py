"""Search of a very large catalogue: votes of the hits in inverted lists choose the tracks that are searched exactly."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from asid_core.config import Config
from asid_core.matching.coarse import GROUP, ExactSearch, Hits
from asid_core.matching.eight_bits import quantised, step
from asid_core.matching.inverted_lists import InvertedLists, lists_for
from asid_core.matching.votes import ListSearch, best_tracks
from pipelines.search.exact import BLOCK_ROWS, Blocks, Queries, References, divided
from pipelines.store.catalogue import Catalogue

BEST = 200  # tracks that are searched exactly
SHARE = 1 / 32  # of the lists, in which hits of a query vector are looked for (RESULTS.md, "Votes")
# groups of neighbouring rows that say what is usual: for votes, and for the z-scores of the hits that are kept
VOTE_GROUPS, BACKGROUND_GROUPS = 64, 256
PROGRAM_BYTES = 10**9  # of the task that makes a VoteTable


@dataclass(frozen=True)
class VoteTable:
    """The rows of all references, track after track in the order of the sweep, and the inverted lists over them.

    Plain arrays, which the processes of a node share in Ray's object store.
    """

    codes: npt.NDArray[np.int8]  # [m, dim]
    centre_s: npt.NDArray[np.float32]  # [m]
    place: npt.NDArray[np.int32]  # [m], of the row's track in the order
    tracks: npt.NDArray[np.int32]  # [t], the reference at each place
    first_rows: npt.NDArray[np.int64]  # [t + 1], the first row of each
    centres: npt.NDArray[np.int8]  # [lists, leading]; this and what follows: as in InvertedLists
    rows: npt.NDArray[np.int64]
    leading: npt.NDArray[np.int8]
    edges: npt.NDArray[np.int64]
    background: npt.NDArray[np.int8]  # [k, dim], a cohort of BACKGROUND_GROUPS

    def search(self) -> ListSearch:
        lists = InvertedLists(
            _tensor(self.codes), _tensor(self.centres), _tensor(self.rows), _tensor(self.leading), self.edges
        )
        return ListSearch(lists, cohort(_tensor(self.background), VOTE_GROUPS))


def row_bytes(config: Config, dim: int) -> float:
    """Memory of a row of a VoteTable."""
    return dim + 8 + ((config.first_pass.dims or dim) + 8) / max(config.first_pass.stride, 1)


def vote_table(uri: str, references: References, config: Config) -> VoteTable:
    """Read all rows and sort them into lists. A Ray task that is alone on its node."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    order = references.order
    if order is None:
        order = np.arange(len(references.tracks), dtype=np.int32)
    codes, track, centre_s = _read(Catalogue(uri), references, config)
    by_place = np.lexsort((centre_s, order[track]))
    codes, place = codes[torch.from_numpy(by_place)], order[track][by_place]
    first_pass = config.first_pass
    stride, dims = max(first_pass.stride, 1), first_pass.dims or codes.shape[1]
    lists = InvertedLists.of(codes, dims, lists_for(len(codes)), stride)
    return VoteTable(
        codes.numpy(), centre_s[by_place], place, np.argsort(order).astype(np.int32),
        np.searchsorted(place, np.arange(len(order) + 1)),
        lists.centres.numpy(), lists.rows.numpy(), lists.leading.numpy(), lists.edges,
        cohort(codes, BACKGROUND_GROUPS).numpy(),
    )  # fmt: skip


def cohort(codes: Tensor, groups: int) -> Tensor:
    """At most `groups` evenly spaced groups of neighbouring rows of codes [m, dim], in zeros if there are too few."""
    count = len(codes) // GROUP
    if not count:
        return torch.nn.functional.pad(codes, (0, 0, 0, GROUP - len(codes)))
    starts = np.unique(np.linspace(0, count - 1, min(groups, count)).astype(np.int64)) * GROUP
    rows = (starts[:, None] + np.arange(GROUP)).ravel()
    return codes[torch.from_numpy(rows)].contiguous()


def _read(catalogue: Catalogue, references: References, config: Config) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """Codes [m, dim], tracks [m] and centres in seconds [m] of the rows that are searched, as the table has them."""
    parts: list[tuple[Tensor, np.ndarray, np.ndarray]] = []
    for block in Blocks(catalogue, replace(references, order=None), config.search.silence_db):
        some = np.flatnonzero(block.tracks >= 0)
        vectors = block.vectors[torch.from_numpy(some)]
        centre_s = (block.start_s[some] + references.window_s / 2).astype(np.float32)
        parts.append((quantised(vectors, step(vectors.shape[1])), block.tracks[some], centre_s))
    codes, track, centre_s = zip(*parts, strict=True)
    return torch.cat(codes), np.concatenate(track), np.concatenate(centre_s)


def _tensor(values: np.ndarray) -> Tensor:
    """A tensor that shares the memory of an array, which Ray has made read-only."""
    flat: Tensor = torch.from_dlpack(pa.array(values.ravel()))
    return flat.view(*values.shape)


class VotedReferences:
    """Compares only the rows of the BEST tracks by votes. z-scores are relative to a cohort of all rows.

    RESULTS.md says what this finds of what the exact search finds ("Votes"), and how long it takes ("Sweep of a growing
    catalogue").
    """

    def __init__(self, table: VoteTable, references: References, config: Config) -> None:
        self._table, self._search, self._config = table, table.search(), config
        self._background = _tensor(table.background)
        self._ordered = references.order is not None
        self._places = np.argsort(table.tracks)  # of each reference
        self._probed = max(1, round(SHARE * len(table.centres)))

    def places(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As ExactReferences.places."""
        return self._table.tracks[self._table.place[rows]], self._table.centre_s[rows].astype(np.float64)

    def search(self, queries: Sequence[Queries]) -> list[Hits]:
        """As ExactReferences.search. The lists are read once for all queries."""
        if not queries:
            return []
        return [self._among(query, places) for query, places in zip(queries, self._chosen(queries), strict=True)]

    def _among(self, query: Queries, places: np.ndarray) -> Hits:
        """The hits of a query in the tracks at `places`."""
        rows = self._rows(places)
        search = ExactSearch(query.vectors, self._config.search.hits_per_window, self._config.first_pass)
        for start in range(0, len(rows), BLOCK_ROWS):
            some = torch.from_numpy(rows[start : start + BLOCK_ROWS])
            usual = self._background[: None if start == 0 else 0]  # once, because it is the same for all blocks
            search.add(self._search.lists.table[some], start, background=usual)
        hits = search.hits()
        return replace(hits, row=rows[hits.row])

    def _chosen(self, queries: Sequence[Queries]) -> Iterator[np.ndarray]:
        """The places of the tracks in which each query is searched: int64 [at most BEST], ascending."""
        some, table = self._config.first_pass.compared(len(queries[0].vectors)), self._table
        own = [None if query.own is None else int(self._places[query.own]) for query in queries]
        ends = [int(table.first_rows[-1 if place is None or not self._ordered else place]) for place in own]
        counts = [query.vectors.shape[1] for query in queries]
        before = torch.tensor(ends).repeat_interleave(torch.tensor(counts))
        together = torch.cat([query.vectors[some] for query in queries], 1)
        probes = self._config.probes.grid[some]
        hits = divided(self._search.hits(together, self._probed, before), counts)
        for query, mine, place in zip(queries, hits, own, strict=True):
            tracks, _ = best_tracks(mine, query.centres_s, probes, table.place, table.centre_s)
            yield np.sort(tracks[tracks != place][:BEST] if place is not None else tracks[:BEST])

    def _rows(self, places: np.ndarray) -> np.ndarray:
        """The numbers of all rows of the tracks at `places`: int64."""
        starts, stops = self._table.first_rows[places], self._table.first_rows[places + 1]
        parts = [np.arange(start, stop) for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)]
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)
