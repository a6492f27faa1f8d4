"""The Ray task of a sweep: identifies some query tracks and writes one part file."""

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
    base: Base | None

    @functools.cached_property
    def identifier(self) -> Identifier:
        torch.set_num_threads(1)  # each task has one core
        return Identifier(self.catalogue, self.model, self.config, self.references)


@functools.lru_cache(maxsize=1)
def _kept(uri: str, sweep_id: str, shared: Any) -> _Kept:
    import ray

    return _Kept(Catalogue(uri), *ray.get(shared))


def sweep_shard(uri: str, sweep_id: str, shard: int, queries: Sequence[dict[str, Any]], shared: list[Any]) -> Counts:
    """A Ray task: identify some query tracks (rows of Plan.queries), or copy their detections, and write their part.

    Returns its counts; it may be empty. shared: a list with one ObjectRef of (Fingerprinter, Config, References,
    Base | None). It is in a list because Ray would otherwise resolve it, and copy 80 MB for every shard.
    """
    kept = _kept(uri, sweep_id, shared[0])
    if kept.base and queries[0]["known"]:  # then all of them are
        rows = detections.ranked(incremental.carried(kept.catalogue, kept.base, queries), sweep_id)
    else:
        rows = _searched(kept, queries, sweep_id)
    with detections.part(kept.catalogue, sweep_id, shard).writing() as stream:
        pq.write_table(rows, stream)
    return Counts.of(rows, kept.config.score.threshold)


def _searched(kept: _Kept, queries: Sequence[dict[str, Any]], sweep_id: str) -> pa.Table:
    """What the queries sample, or what samples them."""
    segments = segments_of_tracks(kept.catalogue, ((row["track_id"], row["segment_files"]) for row in queries))
    before = kept.identifier.candidates
    found = [one for _, some in kept.identifier.identify(segments) for one in some]
    metrics.count_candidates(kept.identifier.candidates - before)
    return detections.table(found, sweep_id)
