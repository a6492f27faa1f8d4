"""Searches all tracks against all others. A Ray task processes a shard of query tracks and writes one part file."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypedDict

import numpy as np
import pyarrow as pa

from asid_core.config import Config
from asid_core.plain_values import to_dict
from pipelines.driver import Stage, drive, kept_on_node, run_tasks
from pipelines.runtime import ProgressCallback
from pipelines.search.exact_or_votes import check_room, needed
from pipelines.search.identify import identifier_bytes
from pipelines.search.sweep_plan import Plan, plan_sweep
from pipelines.search.sweep_task import copy_parts, sweep_shard
from pipelines.search.voted import vote_table
from pipelines.store import detections, fingerprints
from pipelines.store.catalogue import Catalogue, new_run_id
from pipelines.store.detections import Counts
from pipelines.store.files import read_json

log = logging.getLogger(__name__)

STAGE = "sweep"


@dataclass(frozen=True)
class SweepSummary:
    """The result of a sweep. `reported`: number of rows with at least the requested score, `min_score`.

    once: whether each pair was compared once, as in a sweep of all tracks.
    """

    sweep_id: str
    model_id: str
    queries: int
    references: int
    shards: int  # processed in this run; 0 if the sweep was already finished
    reported: int
    seconds: float
    min_score: float
    once: bool
    catalogue: Catalogue = field(repr=False)

    @functools.cached_property
    def detections(self) -> pa.Table:
        """The rows with at least `min_score` (schema.DETECTIONS). Reads all parts of the sweep.

        If pairs were compared `once`, the query of a row is the track that probably samples the other.
        """
        rows = detections.detections(self.catalogue, self.sweep_id, self.min_score)
        return detections.ranked(rows, self.sweep_id) if self.once else rows

    @property
    def of_all_queries(self) -> pa.Table:
        """`detections` with each pair under both of its tracks if pairs were compared `once`."""
        return detections.both_ways(self.detections, self.sweep_id) if self.once else self.detections

    def __str__(self) -> str:
        done = "" if self.shards else "nothing new to sweep: "
        return (
            f"{done}{self.queries:,} queries against {self.references:,} references, "
            f"{self.reported:,} detections (sweep {self.sweep_id})"
        )


class SweepOptions(TypedDict, total=False):
    """What may be asked of a sweep: the keyword arguments of `sweep`, for those who pass them on."""

    queries: str | None
    references: str | None
    min_score: float | None
    new_only: bool


def sweep(
    catalogue: Catalogue,
    config: Config,
    weights: str,
    queries: str | None = None,
    references: str | None = None,
    min_score: float | None = None,
    progress: ProgressCallback | None = None,
    new_only: bool = False,
) -> SweepSummary:
    """Find samples in the tracks that match the glob `queries` of tracks that match `references` (default: all).

    Needs a running Ray. The id of a sweep depends on everything that affects its result. A killed sweep is resumed; a
    finished one is only read. All verified pairs are stored; `min_score` (default: the config's threshold) selects
    the rows of the summary. Raises CatalogueError if there are no fingerprints, LeaseError if another process writes.

    A sweep of all tracks compares each pair once. The query of a row is then the track that probably samples the other.

    new_only: reuse detections of pairs of tracks that have not changed since the newest sweep with the same settings,
    and search only the other pairs. Without such a sweep, or with globs, all pairs are searched.
    """
    started = time.monotonic()
    plan = plan_sweep(catalogue, config, fingerprints.load_model(weights, config), queries, references, new_only)
    shards = 0
    if not detections.folder(catalogue, plan.sweep_id).join(detections.HEAD).exists():
        with catalogue.writing(STAGE):
            work = _Shards(catalogue, config, plan)
            drive(work, progress)
            shards = work.left
            detections.write_tracks(catalogue, plan.sweep_id, plan.known)
            head = plan.head() | {"weights": weights, "query_glob": queries, "reference_glob": references}
            head |= {"config": to_dict(config), "detections": work.found.rows, "reported": work.found.reported}
            head |= {"seconds": time.monotonic() - started}
            detections.finish(catalogue, head)
            catalogue.record_run(new_run_id(STAGE), {"verb": STAGE, "outcome": "done", **head})
    threshold = config.score.threshold if min_score is None else min_score
    summary = SweepSummary(
        plan.sweep_id,
        plan.references.model_id,
        plan.num_queries,
        plan.references.tracks.num_rows,
        shards,
        _reported(catalogue, plan.sweep_id, threshold),
        time.monotonic() - started,
        threshold,
        plan.references.order is not None,
        catalogue,
    )
    log.info("sweep: %s", summary)
    return summary


def _reported(catalogue: Catalogue, sweep_id: str, min_score: float) -> int:
    """Number of detections of a finished sweep with at least `min_score`. sweep.json has it for its own threshold."""
    head = read_json(detections.folder(catalogue, sweep_id).join(detections.HEAD))
    if "reported" in head and detections.threshold(head) == min_score:
        return sum(head["reported"].values())
    return sum(detections.count(detections.parts(catalogue, sweep_id), min_score).reported.values())


class _Shards(Stage[int, tuple[int, Counts]]):
    """The driver's part of a sweep. The task of a shard commits it by writing its part file atomically."""

    name = STAGE

    def __init__(self, catalogue: Catalogue, config: Config, plan: Plan) -> None:
        self._catalogue, self._config, self._plan = catalogue, config, plan
        self._edges = plan.shards(config)
        seconds = np.concatenate([[0.0], np.cumsum(plan.queries["duration_s"].to_numpy())])
        copied = np.zeros(len(plan.copied))
        self._shard_tracks = np.concatenate([np.diff(self._edges), copied])
        self._shard_s = np.concatenate([np.diff(seconds[self._edges]), copied])
        present = {part.name: part for part in detections.parts(catalogue, plan.sweep_id)}
        names = [detections.part(catalogue, plan.sweep_id, number).name for number in range(len(self._shard_s))]
        self._todo = [number for number, name in enumerate(names) if name not in present]
        done = np.array([name in present for name in names], bool)
        self._tracks, self._audio_s = int(self._shard_tracks[done].sum()), float(self._shard_s[done].sum())
        self.found = detections.count(present.values(), config.score.threshold)
        self.left = len(self._todo)

    def todo(self) -> list[int]:
        return self._todo

    def submit(self, items: list[int]) -> Iterator[tuple[int, Counts]]:
        """(shard, counts of its rows) as tasks end."""
        first_copied = len(self._edges) - 1
        yield from self._copies([number for number in items if number >= first_copied], first_copied)
        yield from self._searches([number for number in items if number < first_copied])

    def _copies(self, shards: list[int], first: int) -> Iterator[tuple[int, Counts]]:
        plan, threshold = self._plan, self._config.score.threshold
        where = (self._catalogue.location.uri, plan.sweep_id)
        arguments = ((*where, number, plan.copied[number - first], plan.base, threshold) for number in shards)
        return ((shards[at], found) for at, found in run_tasks(copy_parts, arguments))

    def _searches(self, shards: list[int]) -> Iterator[tuple[int, Counts]]:
        if not shards:
            return iter(())
        where = (self._catalogue.location.uri, self._plan.sweep_id)
        arguments = ((*where, number, self._rows(number), self._shared) for number in shards)
        memory_bytes = identifier_bytes(self._plan.rows, self._plan.takes_votes)
        return ((shards[at], found) for at, found in run_tasks(sweep_shard, arguments, memory_bytes))

    @functools.cached_property
    def _shared(self) -> list[Any]:
        """References to what all tasks need: model, config and references; and their votes, unless search is exact."""
        import ray

        plan, config = self._plan, self._config
        shared = [ray.put((plan.model, config, plan.references))]
        if plan.takes_votes:
            room = needed(plan.references, config, plan.model.dim)
            check_room(room)
            log.info("sweep: sorting %s fingerprints into lists", f"{plan.references.num_rows:,}")
            uri = self._catalogue.location.uri
            shared.append(kept_on_node(vote_table, uri, plan.references, config, memory_bytes=room.memory_bytes))
        return shared

    def _rows(self, shard: int) -> list[dict[str, Any]]:
        """The query tracks of a shard."""
        start, stop = self._edges[shard : shard + 2].tolist()
        rows: list[dict[str, Any]] = self._plan.queries.slice(start, stop - start).to_pylist()
        return rows

    def take(self, outcome: tuple[int, Counts]) -> None:
        shard, found = outcome
        self.found += found
        self._tracks += int(self._shard_tracks[shard])
        self._audio_s += float(self._shard_s[shard])

    def counts(self) -> dict[str, Any]:
        return {"done": self._tracks, "total": self._plan.queries.num_rows, "audio_s": self._audio_s}
