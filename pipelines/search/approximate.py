"""Approximate search with the vector index of a fingerprint table, as an alternative to comparing every row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from asid_core.config import Config, SearchConfig
from asid_core.matching.coarse import GROUP, ExactSearch, Hits
from pipelines.search.exact import COHORT_BLOCKS, Blocks, Queries, References
from pipelines.store import fingerprints
from pipelines.store.catalogue import Catalogue, quoted

INDEX_QUERIES = 1024  # vectors per call of LanceDB; more only take memory
WINDOWS_PER_TRACK = 2**32  # more than the int32 number of a window can be
HIT_TYPES = (np.int32, np.int32, np.int64, np.float32, np.float32)
OVER_FETCH = 4  # factor of rows requested, since neighbours of a hit and excluded rows are dropped


class IndexedReferences:
    """Searches with LanceDB's index, which compares far fewer rows. `asid index` measures its recall.

    The number of a row says where it is, so nothing is kept from one query to the next. Of neighbours (`GROUP` windows
    of a track), only the best is kept, as in ExactSearch. z-scores are relative to a cohort: blocks sampled from the
    whole table, searched exactly. `References.order` is ignored: only sweeps have one, and these do not use the index.
    """

    def __init__(self, catalogue: Catalogue, references: References, config: Config) -> None:
        self._blocks = Blocks(catalogue, references, config.search.silence_db)
        self._table = open_table(catalogue, references.model_id, references.version)
        self._config, self._window_s, self._hop_s = config.search, references.window_s, references.hop_s
        self._ids = references.tracks["track_id"]
        self._cohort = torch.cat([block.vectors for block in self._blocks.sample(COHORT_BLOCKS)])

    def places(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As ExactReferences.places."""
        track, window = np.divmod(rows, WINDOWS_PER_TRACK)
        return track, window * self._hop_s + self._window_s / 2

    def search(self, queries: Sequence[Queries]) -> list[Hits]:
        """As ExactReferences.search."""
        return [self._search(query) for query in queries]

    def _search(self, query: Queries) -> Hits:
        windows = query.vectors.shape[1]
        background = ExactSearch(query.vectors, 1)
        background.add(self._cohort, 0)
        mean, deviation = (values.numpy() for values in background.background.statistics())
        but_track = None if query.own is None else self._ids[query.own].as_py()
        flat = query.vectors.flatten(0, 1).float().numpy()  # probes outermost
        best = Found.nothing()
        for start in range(0, len(flat), INDEX_QUERIES):
            vectors = flat[start : start + INDEX_QUERIES]
            near = nearest(self._table, vectors, OVER_FETCH * self._config.hits_per_window, self._config, but_track)
            for batch in near.to_batches():
                probe, window = np.divmod(batch.column("query_index").to_numpy() + start, windows)
                index, cosine = batch.column("window_index").to_numpy(), 1 - batch.column("_distance").to_numpy()
                best = best.best_with(
                    Found(window, probe, self._blocks.which(batch), index, cosine), self._config.hits_per_window
                )
        z_score = (best.cosine - mean[best.window]) / deviation[best.window]
        rows = best.track.astype(np.int64) * WINDOWS_PER_TRACK + best.index
        columns = (best.window, best.probe, rows, best.cosine, z_score)
        return Hits(*(column.astype(kind) for column, kind in zip(columns, HIT_TYPES, strict=True)))


@dataclass(frozen=True)
class Found:
    """Hits of the index, as columns of equal length."""

    window: np.ndarray
    probe: np.ndarray
    track: np.ndarray  # -1: excluded
    index: np.ndarray  # number of the window in the reference
    cosine: np.ndarray

    @staticmethod
    def nothing() -> Found:
        none = np.zeros(0, np.int64)
        return Found(none, none, none, none, np.zeros(0, np.float32))

    def take(self, chosen: np.ndarray) -> Found:
        return Found(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    def best_with(self, more: Found, keep: int) -> Found:
        """Merge two sets of hits: the `keep` best groups (`GROUP` windows of a track) of each window, best first."""
        both = Found(*(np.concatenate([getattr(self, k), getattr(more, k)]) for k in self.__dataclass_fields__))
        both = both.take((both.track >= 0) & (both.cosine > 0))
        group = both.index // GROUP
        order = np.lexsort((-both.cosine, group, both.track, both.window))
        both = both.take(first_of(order, both.window, both.track, group))
        both = both.take(np.lexsort((-both.cosine, both.window)))
        _, starts, counts = np.unique(both.window, return_index=True, return_counts=True)
        rank = np.arange(len(both.window)) - np.repeat(starts, counts)
        return both.take(rank < keep)


def first_of(order: np.ndarray, *keys: np.ndarray) -> np.ndarray:
    """The first entry of each run of equal keys in `order`, which sorts by `keys`."""
    changes = np.zeros(len(order), bool)
    changes[:1] = True
    for key in keys:
        changes[1:] |= np.diff(key[order]) != 0
    return order[changes]


def open_table(catalogue: Catalogue, model_id: str, version: int | None = None) -> Any:
    """Open the fingerprint table of a model with LanceDB."""
    import lancedb

    uri, options = catalogue.location.lance()
    table = lancedb.connect(uri, storage_options=options).open_table(fingerprints.table_name(model_id))
    if version is not None:
        table.checkout(version)
    return table


def nearest(
    table: Any, vectors: np.ndarray, count: int, config: SearchConfig, but_track: str | None = None
) -> pa.Table:
    """The rows that the index finds nearest to `vectors` [n, dim], with `query_index` and `_distance` = 1 - cosine.

    `but_track` is excluded before the search, because the nearest rows of a loop all belong to its own track.
    """
    columns = ["track_id", "content_hash", "window_index", "level_db", "_distance"]
    query = table.search(vectors, vector_column_name="vector").distance_type("dot")
    query = query.nprobes(config.nprobes).limit(count)
    if any(index.index_type == "IvfPq" for index in table.list_indices()):  # IVF_FLAT stores unquantised vectors
        query = query.refine_factor(config.refine_factor)
    if but_track is not None:
        query = query.where(f"track_id != {quoted(but_track)}", prefilter=True)
    return query.select(columns).to_arrow()
