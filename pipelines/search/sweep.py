"""All tracks against all others: shards of query tracks are Ray tasks, each writes one part file."""

from __future__ import annotations

import fnmatch
import functools
import hashlib
import itertools
import json
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from asid_core.config import Config
from asid_core.matching.detection import Detection, ranked
from asid_core.model.fingerprinter import Fingerprinter
from asid_core.plain_values import to_dict
from pipelines.runtime import Progress
from pipelines.search import incremental
from pipelines.search.exact import References
from pipelines.search.identify import SEARCH_BYTES, TOGETHER_S, Identifier
from pipelines.search.incremental import Base
from pipelines.store import detections, fingerprints
from pipelines.store.audio import pieces_of_tracks
from pipelines.store.catalogue import Catalogue, CatalogueError, new_run_id

log = logging.getLogger(__name__)

STAGE = "sweep"
TASK_RETRIES = 2  # of a task whose Ray worker dies, or that a store does not answer
TAKEN_OVER_TRACKS = 1024  # of a shard that is only copied: 40 rows each are 40 MB as it passes by
SHARDS = 64  # at least, where there are tracks enough: a small catalogue keeps every core busy as well, to the end
LAYOUT = 2  # of what a sweep leaves: one of another layout is no base
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
    progress: Progress | None = None,
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
    place = detections.folder(catalogue, plan.sweep_id)
    shards = 0
    if not place.join(detections.HEAD).exists():
        shards = _work(catalogue, config, plan, progress)
        of_queries = [[row["track_id"] for row in shard] for shard in plan.shards(config)]
        detections.write_tracks(catalogue, plan.sweep_id, plan.known, of_queries)
        rows = detections.count(catalogue, plan.sweep_id)
        seconds = time.monotonic() - started
        head = {"sweep_id": plan.sweep_id, "model_id": plan.references.model_id, "detections": rows, "seconds": seconds}
        head |= {"queries": len(plan.queries), "references": plan.references.tracks.num_rows, "weights": weights}
        head |= {"query_glob": queries, "reference_glob": references, "config": to_dict(config)}
        head |= {"settings": plan.settings, "base": plan.base.sweep_id if plan.base else None}
        place.join(detections.HEAD).write_bytes(json.dumps(head, indent=2).encode())
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
    decisive |= {"globs": [query_glob, reference_glob], "version": metadata.version("asid")}
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


def _work(catalogue: Catalogue, config: Config, plan: _Plan, progress: Progress | None) -> int:
    """Do the shards that have no part file yet; returns how many. Raises the first error once the others are done."""
    import ray

    shards = plan.shards(config)
    there = {part.name for part in detections.parts(catalogue, plan.sweep_id)}
    todo = [n for n in range(len(shards)) if detections.part(catalogue, plan.sweep_id, n).name not in there]
    lengths_s = [sum(row["duration_s"] for row in shard) for shard in shards]
    waits = set(todo)
    done = sum(len(shard) for number, shard in enumerate(shards) if number not in waits)
    audio_s = sum(length_s for number, length_s in enumerate(lengths_s) if number not in waits)
    shared = [ray.put((plan.model, config, plan.references, plan.base))]
    gpus = gpu_share([node["Resources"] for node in ray.nodes() if node["Alive"]])
    task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=TASK_RETRIES, retry_exceptions=[OSError])(sweep_shard)

    def start(number: int) -> Any:
        return task.remote(catalogue.location.uri, plan.sweep_id, number, shards[number], shared)

    at_once = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))  # the next one waits where the last one ends
    waiting = iter(todo)
    running = {start(number): number for number in itertools.islice(waiting, at_once)}
    errors: list[Exception] = []
    while running:
        (ended,), _ = ray.wait(list(running))
        number = running.pop(ended)
        try:
            ray.get(ended)
        except Exception as error:  # whatever it is, the other shards are worth finishing
            log.error("shard %d failed: %s", number, error)
            errors.append(error)
        for following in itertools.islice(waiting, 1):
            running[start(following)] = following
        done, audio_s = done + len(shards[number]), audio_s + lengths_s[number]
        if progress is not None:
            progress({"stage": STAGE, "done": done, "total": len(plan.queries), "audio_s": audio_s})
    if errors:
        raise errors[0]
    return len(todo)


def gpu_share(nodes: Sequence[Mapping[str, float]]) -> float:
    """What a task of one CPU takes of a GPU, by the resources of the nodes: none if a node with CPUs has no GPU.

    Verification, half of a sweep and more, keeps the cores busy: none is to be left out for want of a GPU.
    """
    return min((min(1.0, node.get("GPU", 0) / node["CPU"]) for node in nodes if node.get("CPU", 0)), default=0.0)


@dataclass(frozen=True)
class _Kept:
    """What a worker keeps of its newest sweep: weights, and features of references."""

    catalogue: Catalogue
    model: Fingerprinter
    config: Config
    references: References
    base: Base | None

    @functools.cached_property
    def identifier(self) -> Identifier:
        torch.set_num_threads(1)  # a task a core
        return Identifier(self.catalogue, self.model, self.config, self.references)


@functools.lru_cache(maxsize=1)
def _kept(uri: str, sweep_id: str, shared: Any) -> _Kept:
    import ray

    return _Kept(Catalogue(uri), *ray.get(shared))


def sweep_shard(uri: str, sweep_id: str, shard: int, queries: Sequence[dict[str, Any]], shared: list[Any]) -> None:
    """A Ray task: identify some query tracks (rows of TRACKS) and write their part, empty where nothing is found.

    shared: one ObjectRef of (Fingerprinter, Config, References, Base | None); in a list, or Ray
    would copy 80 MB for every shard.
    """
    kept = _kept(uri, sweep_id, shared[0])
    found: dict[str, list[Detection]] = {}
    if kept.base is not None:
        known = ((row["track_id"], row["before"]) for row in queries if row["before"] is not None)
        found = incremental.carried(kept.catalogue, kept.base, known)
    if kept.references.has_fresh:
        pieces = pieces_of_tracks(kept.catalogue, ((row["track_id"], row["segment_files"]) for row in queries))
        for track_id, some in kept.identifier.identify(pieces):
            found[track_id] = found.get(track_id, []) + some
    rows = detections.table((one for some in found.values() for one in ranked(some)), sweep_id)
    with detections.part(kept.catalogue, sweep_id, shard).writing() as stream:
        pq.write_table(rows, stream)
