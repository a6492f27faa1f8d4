"""The Ray tasks of a sweep: each writes one part file, of some query tracks or copied from an earlier sweep."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from asid_core.config import Config
from asid_core.model.fingerprinter import Fingerprinter
from pipelines import metrics
from pipelines.search import incremental
from pipelines.search.exact import References
from pipelines.search.identify import Identifier
from pipelines.search.incremental import Base
from pipelines.search.voted import VoteTable
from pipelines.store import detections
from pipelines.store.audio import segments_of_tracks
from pipelines.store.catalogue import Catalogue
from pipelines.store.detections import Counts


@dataclass(frozen=True)
class _Kept:
    """State that a worker keeps for its newest sweep: weights, and features of references."""

    catalogue: Catalogue
    model: Fingerprinter
    config: Config
    references: References
    votes: VoteTable | None

    @functools.cached_property
    def identifier(self) -> Identifier:
        torch.set_num_threads(1)  # each task has one core
        return Identifier(self.catalogue, self.model, self.config, self.references, self.votes)


@functools.lru_cache(maxsize=1)
def _kept(uri: str, sweep_id: str, shared: Any, votes: Any = None) -> _Kept:
    import ray

    model, config, references = ray.get(shared)
    return _Kept(Catalogue(uri), model, config, references, None if votes is None else ray.get(votes))


def sweep_shard(uri: str, sweep_id: str, shard: int, queries: Sequence[dict[str, Any]], shared: list[Any]) -> Counts:
    """A Ray task: identify some query tracks (rows of Plan.queries) and write their part file. Returns its counts.

    shared: ObjectRefs of (Fingerprinter, Config, References) and, if it exists, of a VoteTable. They are in a list
    because Ray would otherwise resolve them, and copy 80 MB for every shard.
    """
    kept = _kept(uri, sweep_id, *shared)
    segments = segments_of_tracks(kept.catalogue, ((row["track_id"], row["segment_files"]) for row in queries))
    before = kept.identifier.candidates
    found = [one for _, some in kept.identifier.identify(segments) for one in some]
    metrics.count_candidates(kept.identifier.candidates - before)
    rows = detections.table(found, sweep_id)
    if kept.references.order is not None:
        rows = detections.by_direction(rows, sweep_id)
    return _written(kept.catalogue, rows, sweep_id, shard, kept.config.score.threshold)


def copy_parts(uri: str, sweep_id: str, shard: int, parts: Sequence[str], base: Base, threshold: float) -> Counts:
    """A Ray task: copy what is still valid in some parts of the base into one part file. Returns its counts."""
    catalogue = Catalogue(uri)
    rows = detections.ranked(incremental.carried(catalogue, base, parts), sweep_id)
    return _written(catalogue, rows, sweep_id, shard, threshold)


def _written(catalogue: Catalogue, rows: pa.Table, sweep_id: str, shard: int, threshold: float) -> Counts:
    with detections.part(catalogue, sweep_id, shard).writing() as stream:
        pq.write_table(rows, stream)
    return Counts.of(rows, threshold)
