"""All tracks against all others: shards of query tracks are Ray tasks, each writes one part file."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from asid_core.config import Config
from asid_core.model.fingerprinter import Fingerprinter
from asid_core.plain_values import to_dict
from pipelines.driver import Stage, drive, run_tasks
from pipelines.runtime import ProgressCallback
from pipelines.search import incremental
from pipelines.search.exact import References
from pipelines.search.identify import SEARCH_BYTES, TOGETHER_S
from pipelines.search.incremental import Base
from pipelines.search.sweep_task import sweep_shard
from pipelines.store import detections, fingerprints
from pipelines.store.catalogue import Catalogue, CatalogueError, new_run_id

log = logging.getLogger(__name__)

STAGE = "sweep"
TAKEN_OVER_TRACKS = 1024  # of a shard that is only copied: 40 rows each are 40 MB as it passes by
SHARDS = 64  # at least, where there are tracks enough: a small catalogue keeps every core busy as well, to the end
LAYOUT = 2  # of what a sweep leaves: one of another layout is no base
# Raise it with a change of the code that changes detections: the next sweep of a catalogue is then a full one. The
# version of asid in its place would make every upgrade a full sweep.
ALGORITHM = 2
SETTINGS = ("probes", "search", "verify", "score")  # the sections of the config that decide what is found
TRACKS = ("track_id", "content_hash", "segment_files", "num_segments", "duration_s")


@dataclass(frozen=True)
class SweepSummary:
    """What a sweep found. `detections` (schema.DETECTIONS): the rows that score at least what was asked for."""

    sweep_id: str
    model_id: str
    queries: int
    references: int
    shards: int  # done now; 0: this sweep had been finished before
    detections: pa.Table
    seconds: float

    def __str__(self) -> str:
        done = "" if self.shards else "nothing new to sweep: "
        return (
            f"{done}{self.queries:,} queries against {self.references:,} references, "
            f"{self.detections.num_rows:,} detections (sweep {self.sweep_id})"
        )


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
    """Find what the tracks that match the glob `queries` sample of those that match `references` (default: all).

    Needs a running Ray. A sweep is named by what decides its result; one that was killed goes on where it stopped, one
    that ended is only read. Every verified pair is kept; `min_score` (default: the config's threshold) chooses what
    the summary holds. Raises CatalogueError where there are no fingerprints.

    new_only: detections of pairs of tracks that are both as the newest sweep of the same settings knew them are taken
    over from it, and only the other pairs are looked at; all of them where there is no such sweep.
    """
    started = time.monotonic()
    plan = _plan(catalogue, config, fingerprints.load_model(weights, config), queries, references, new_only)
    shards = 0
    if not detections.folder(catalogue, plan.sweep_id).join(detections.HEAD).exists():
        with catalogue.writing(STAGE):
            work = _Shards(catalogue, config, plan)
            drive(work, progress)
            shards = work.left
            detections.write_tracks(catalogue, plan.sweep_id, plan.known, work.query_ids())
            head = plan.head() | {"weights": weights, "query_glob": queries, "reference_glob": references}
            head |= {"config": to_dict(config), "detections": detections.count(catalogue, plan.sweep_id)}
            head |= {"seconds": time.monotonic() - started}
            detections.finish(catalogue, head)
            catalogue.record_run(new_run_id(STAGE), {"verb": STAGE, "outcome": "done", **head})
    threshold = config.score.threshold if min_score is None else min_score
    summary = SweepSummary(
        plan.sweep_id,
        plan.references.model_id,
        len(plan.queries),
        plan.references.tracks.num_rows,
        shards,
        detections.detections(catalogue, plan.sweep_id, threshold),
        time.monotonic() - started,
    )
    log.info("sweep: %s", summary)
    return summary


@dataclass(frozen=True)
class _Plan:
    """What is to be done: the rows of the query tracks (columns TRACKS), by id.

    With a `base`, a row has `before` as well: where its detections were then, or None.
    """

    sweep_id: str
    model: Fingerprinter
    references: References
    queries: list[dict[str, Any]]
    known: pa.Table  # track_id, content_hash of everything that has fingerprints
    settings: str  # digest of what decides the result but the tracks
    base: Base | None  # what detections are taken over from

    def head(self) -> dict[str, Any]:
        """What its sweep.json says of the plan."""
        return {
            "sweep_id": self.sweep_id,
            "model_id": self.references.model_id,
            "queries": len(self.queries),
            "references": self.references.tracks.num_rows,
            "settings": self.settings,
            "base": self.base.sweep_id if self.base else None,
        }

    def shards(self, config: Config) -> list[list[dict[str, Any]]]:
        """Runs of query tracks, the same ones whenever and wherever the sweep is started again.

        The references are read anew for each: it is as many tracks as a worker searches with together.
        """
        most, most_s = TAKEN_OVER_TRACKS, math.inf
        if self.references.has_fresh:
            bytes_s = (
                4 * self.model.dim * len(config.probes.grid) / (config.probes.query_hop_s or self.references.hop_s)
            )
            most, most_s = config.search.shard_tracks, min(TOGETHER_S, SEARCH_BYTES / bytes_s)
        most = max(1, min(most, -(-len(self.queries) // SHARDS)))
        shards: list[list[dict[str, Any]]] = []
        room_s = 0.0
        for row in self.queries:
            if room_s <= 0 or len(shards[-1]) == most:
                shards.append([])
                room_s = most_s
            shards[-1].append(row)
            room_s -= row["duration_s"]
        return shards


def _plan(
    catalogue: Catalogue,
    config: Config,
    model: Fingerprinter,
    query_glob: str | None,
    reference_glob: str | None,
    new_only: bool,
) -> _Plan:
    tracks, references = find_references(catalogue, model, reference_glob)
    queries = [row for row in tracks.to_pylist() if fnmatch.fnmatchcase(row["track_id"], query_glob or "*")]
    values = to_dict(config)
    decisive: dict[str, Any] = {name: values[name] for name in SETTINGS}
    decisive |= {"globs": [query_glob, reference_glob], "algorithm": ALGORITHM}
    decisive |= {"model": model.model_id, "reranker": _reranker_id(model), "layout": LAYOUT}
    settings = _digest(decisive)
    known = tracks.select(TRACKS[:2])
    key = _digest(decisive | {"tracks": [(row["track_id"], row["content_hash"]) for row in known.to_pylist()]})
    same = [name for name in detections.ids(catalogue) if f"-{key}" in name]
    ended = [name for name in same if detections.folder(catalogue, name).join(detections.HEAD).exists()]
    base, found = None, None
    if new_only and not ended:
        found = incremental.find_base(catalogue, settings, known, renames=query_glob is None and reference_glob is None)
    if found is not None:  # its shards hold other rows than those of a full sweep: they must not be mixed
        base, was = found
        key = f"{key}-{_digest(base.sweep_id)}"
        fresh = frozenset(known["track_id"].to_pylist()) - was.keys()
        references = replace(references, fresh=fresh)
        queries = [row | {"before": was.get(row["track_id"])} for row in queries]
        log.info("sweep: %d tracks are new since sweep %s", len(fresh), base.sweep_id)
    begun = ended or [name for name in same if name.endswith("-" + key)]
    sweep_id = begun[-1] if begun else f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{key}"  # ids sort by time
    return _Plan(sweep_id, model, references, queries, known, settings, base)


def _digest(values: Any) -> str:
    return hashlib.blake2b(json.dumps(values, sort_keys=True).encode(), digest_size=6).hexdigest()


def find_references(catalogue: Catalogue, model: Fingerprinter, glob: str | None = None) -> tuple[pa.Table, References]:
    """The live tracks that have fingerprints (columns TRACKS, by id), and those of them that `glob` names.

    Raises CatalogueError where there are none.
    """
    table = catalogue.table(fingerprints.table_name(model.model_id))
    ready = set(fingerprints.embedded(table))
    live = pa.Table.from_batches(catalogue.tracks(columns=TRACKS)) if catalogue.count_tracks() else None
    if table is None or live is None or not ready:
        raise CatalogueError(f"no fingerprints of model {model.model_id} in {catalogue.location}: run asid embed first")
    ids, hashes = live["track_id"].to_pylist(), live["content_hash"].to_pylist()
    tracks = live.filter(pa.array(pair in ready for pair in zip(ids, hashes, strict=True))).sort_by("track_id")
    if missing := live.num_rows - tracks.num_rows:
        log.warning("%d tracks have no fingerprints of model %s yet: asid embed makes them", missing, model.model_id)
    named = pa.array(fnmatch.fnmatchcase(track_id, glob or "*") for track_id in tracks["track_id"].to_pylist())
    chosen = tracks.filter(named).combine_chunks()
    return tracks, References(model.model_id, table.version, chosen, model.window_s, model.hop_s)


def _reranker_id(model: Fingerprinter) -> str | None:
    """`model_id` leaves the reranker out: fingerprints do not change with it, detections do."""
    if model.reranker is None:
        return None
    digest = hashlib.blake2b(digest_size=6)
    for _, value in sorted(model.reranker.state_dict().items()):
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


class _Shards(Stage[int, int]):
    """The driver's part of a sweep. A shard is committed by its task, which writes its part file in one atomic step."""

    name = STAGE

    def __init__(self, catalogue: Catalogue, config: Config, plan: _Plan) -> None:
        self._catalogue, self._config, self._plan = catalogue, config, plan
        self._shards = plan.shards(config)
        self._tracks, self._audio_s = 0, 0.0
        present = {part.name for part in detections.parts(catalogue, plan.sweep_id)}
        names = [detections.part(catalogue, plan.sweep_id, number).name for number in range(len(self._shards))]
        self._todo = [number for number, name in enumerate(names) if name not in present]
        for number in set(range(len(names))) - set(self._todo):
            self.take(number)
        self.left = len(self._todo)

    def query_ids(self) -> list[list[str]]:
        """Of each shard."""
        return [[row["track_id"] for row in shard] for shard in self._shards]

    def todo(self) -> list[int]:
        return self._todo

    def submit(self, items: list[int]) -> Iterator[int]:
        import ray

        shared = [ray.put((self._plan.model, self._config, self._plan.references, self._plan.base))]
        uri, sweep_id = self._catalogue.location.uri, self._plan.sweep_id
        arguments = ((uri, sweep_id, number, self._shards[number], shared) for number in items)
        return (items[at] for at, _ in run_tasks(sweep_shard, arguments))

    def take(self, outcome: int) -> None:
        self._tracks += len(self._shards[outcome])
        self._audio_s += sum(row["duration_s"] for row in self._shards[outcome])

    def counts(self) -> dict[str, Any]:
        return {"done": self._tracks, "total": len(self._plan.queries), "audio_s": self._audio_s}
