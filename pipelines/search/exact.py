"""Exact search: reads the fingerprints of the reference tracks in blocks and compares every row."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from asid_core.config import Config
from asid_core.matching.coarse import ExactSearch, Hits
from pipelines.runtime import assigned_device
from pipelines.store import fingerprints
from pipelines.store.catalogue import Catalogue

BLOCK_ROWS = 65_536  # 64 MB at 256 dimensions
SAMPLE_ROWS = 1024  # rows per block of `Blocks.sample`
COHORT_BLOCKS = 32
COLUMNS = ["track_id", "content_hash", "start_s", "level_db", "vector"]


@dataclass(frozen=True)
class References:
    """The rows to search: those in one version of the table whose (track_id, content_hash) is in `tracks`.

    tracks: columns track_id, content_hash, segment_files, num_segments, duration_s; a track's index is its row here.
    order: int32, a permutation of the tracks. A query that is one of them is searched only in tracks with a lower
    number, so that each pair is compared once. None: in all others.
    """

    model_id: str
    version: int
    tracks: pa.Table
    window_s: float
    hop_s: float
    order: np.ndarray | None = None

    @property
    def num_rows(self) -> int:
        """Number of windows of all tracks, including silent ones, computed from their durations."""
        last_starts_s = np.maximum(self.tracks["duration_s"].to_numpy() - self.window_s, 0.0)
        return int(((last_starts_s / self.hop_s).astype(np.int64) + 1).sum())


@dataclass(frozen=True)
class Queries:
    """Vectors [P, n, dim] of some windows of a query track."""

    vectors: Tensor
    centres_s: np.ndarray  # float64 [n], of the windows
    own: int | None  # index of the reference track that they come from


@dataclass(frozen=True)
class Block:
    """Rows of the table from `first_row` on. Excluded and silent rows are zero vectors."""

    first_row: int
    vectors: Tensor  # [m, dim]
    tracks: np.ndarray  # int32 [m], index of the reference track, -1 if the row is excluded
    start_s: np.ndarray  # float64 [m]


class Blocks:
    """Reads the table version of the sweep, fragment by fragment. The windows of a track are consecutive, in order.

    If the references have an order, the rows of a block are sorted by it, excluded rows last.
    """

    def __init__(self, catalogue: Catalogue, references: References, silence_db: float) -> None:
        self._table = _table(catalogue, references)
        self._ids = references.tracks["track_id"].combine_chunks()
        self._hashes = references.tracks["content_hash"].combine_chunks()
        self._silence_db, self._order = silence_db, references.order
        self.num_rows = int(self._table.count_rows())

    def which(self, rows: pa.RecordBatch) -> np.ndarray:
        """The index of each row's reference track, int32 [m]; -1 for excluded rows."""
        tracks = pc.index_in(rows.column("track_id"), value_set=self._ids)
        same = pc.equal(self._hashes.take(tracks), rows.column("content_hash"))
        loud = pc.greater_equal(rows.column("level_db"), self._silence_db)
        counts = pc.fill_null(pc.and_(same, loud), False)
        return np.asarray(pc.if_else(counts, tracks, -1).to_numpy(zero_copy_only=False), np.int32)

    def __iter__(self) -> Iterator[Block]:
        row = 0
        batches = self._table.to_batches(columns=COLUMNS, batch_size=BLOCK_ROWS, batch_readahead=1)
        for batch in of_rows(BLOCK_ROWS, batches):
            yield self._block(batch, row)
            row += batch.num_rows

    def sample(self, blocks: int) -> Iterator[Block]:
        """Small blocks, evenly spaced over the table."""
        for start in np.linspace(0, max(0, self.num_rows - SAMPLE_ROWS), blocks).astype(int).tolist():
            rows = self._table.to_table(columns=COLUMNS, offset=start, limit=SAMPLE_ROWS)
            for batch in rows.combine_chunks().to_batches():
                yield self._block(batch, start)

    def _block(self, rows: pa.RecordBatch, first_row: int) -> Block:
        tracks = self.which(rows)
        dim = rows.column("vector").type.list_size
        vectors = torch.from_dlpack(rows.column("vector").flatten()).view(-1, dim)  # shares Arrow's memory: read-only
        if (none := tracks < 0).any():
            vectors = vectors.masked_fill(torch.from_numpy(none)[:, None], 0.0)
        start_s = rows.column("start_s").to_numpy()
        if self._order is None:
            return Block(first_row, vectors, tracks, start_s)
        at = np.argsort(places_of(tracks, self._order), kind="stable")
        return Block(first_row, vectors[torch.from_numpy(at)], tracks[at], start_s[at])


def num_rows(catalogue: Catalogue, references: References) -> int:
    """Number of rows of the table, those of other tracks included."""
    return int(_table(catalogue, references).count_rows())


def _table(catalogue: Catalogue, references: References) -> Any:
    """The fingerprint table of the references, in their version."""
    newest: Any = catalogue.table(fingerprints.table_name(references.model_id))
    return newest.checkout_version(references.version)


def of_rows(size: int, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of `size`, except the last. Lance ends a batch at the end of each fragment."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        while sum(part.num_rows for part in waiting) + batch.num_rows >= size:
            room = size - sum(part.num_rows for part in waiting)
            yield _joined([*waiting, batch.slice(0, room)])
            waiting, batch = [], batch.slice(room)
        if batch.num_rows:
            waiting.append(batch)
    if waiting:
        yield _joined(waiting)


def _joined(parts: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    return pa.concat_batches(parts) if len(parts) > 1 else parts[0]


class ExactReferences:
    """Compares every row. Reads the table once for all queries of a call."""

    def __init__(self, catalogue: Catalogue, references: References, config: Config) -> None:
        self._blocks = Blocks(catalogue, references, config.search.silence_db)
        self._config, self._window_s, self._order = config, references.window_s, references.order
        self._device = assigned_device()
        self._num_blocks = -(-references.num_rows // BLOCK_ROWS)  # if no other tracks were between them
        self._row_track = np.full(self._blocks.num_rows, -1, np.int32)
        self._row_centre_s = np.zeros(self._blocks.num_rows)

    def places(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The index of the reference track, and the centre in seconds, of each row of the hits so far."""
        return self._row_track[rows], self._row_centre_s[rows]

    def search(self, queries: Sequence[Queries]) -> list[Hits]:
        """The hits of each query, without rows of its own track. `places` says where its rows are.

        The windows of all queries are searched together, because one large matrix product is faster.
        """
        together = torch.cat([query.vectors for query in queries], 1).to(self._device)
        search = ExactSearch(together, self._config.search.hits_per_window, self._config.first_pass, self._num_blocks)
        for block in self._blocks:
            rows = slice(block.first_row, block.first_row + len(block.tracks))
            self._row_track[rows] = block.tracks
            self._row_centre_s[rows] = block.start_s + self._window_s / 2
            add_block(search, block, queries, self._order)
        return divided(search.hits(), [query.vectors.shape[1] for query in queries])


def add_block(search: ExactSearch, block: Block, queries: Sequence[Queries], order: np.ndarray | None = None) -> None:
    """Search a block for the windows of all `queries` (those of `search`), except each in its own track.

    order: as in `References`, by which the rows are then sorted. A query is searched in the rows before its own track;
    those after it only count as background.
    """
    places = block.tracks if order is None else places_of(block.tracks, order)
    inside = set(block.tracks.tolist())

    def rows_of(query: Queries) -> tuple[int | None, int | None]:
        """The query's own track if it is in the block, and the number of rows to search; None: all others."""
        own = query.own if query.own in inside else None
        if order is None or query.own is None:
            return own, None
        return own, int(np.searchsorted(places, order[query.own]))

    stop = 0
    for (own, before), alike in itertools.groupby(queries, rows_of):
        start, stop = stop, stop + sum(query.vectors.shape[1] for query in alike)
        if before is not None:
            others = block.vectors if own is None else block.vectors[torch.from_numpy(block.tracks != own)]
            search.add(others, block.first_row, slice(start, stop), before)
            continue
        for first, last in runs_without(block.tracks, own):
            search.add(block.vectors[first:last], block.first_row + first, slice(start, stop))


def places_of(tracks: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The number in `order` of each row's track; excluded rows (-1) come last."""
    return np.where(tracks < 0, len(order), order[tracks])


def divided(hits: Hits, windows: Sequence[int]) -> list[Hits]:
    """Split hits, sorted by window, by query. windows: number of windows of each query."""
    edges = np.cumsum([0, *windows])
    splits = np.searchsorted(hits.window, edges)
    columns = [getattr(hits, field.name) for field in fields(Hits)]
    parts = [Hits(*(column[start:stop] for column in columns)) for start, stop in itertools.pairwise(splits)]
    return [replace(part, window=part.window - np.int32(edge)) for part, edge in zip(parts, edges[:-1], strict=True)]


def runs_without(tracks: np.ndarray, own: int | None) -> list[tuple[int, int]]:
    """Runs [start, stop) of rows that do not belong to the track `own`."""
    others = np.ones(len(tracks), bool) if own is None else tracks != own
    edges = np.flatnonzero(np.diff(np.concatenate([[0], others.astype(np.int8), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
