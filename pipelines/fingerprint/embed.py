"""segments -> fingerprints: leaves out what is done, encodes on an actor pool, commits fragments."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from asid_core.config import Config
from asid_core.model.fingerprinter import Fingerprinter
from asid_core.plain_values import to_dict
from pipelines.fingerprint.embed_actor import TRACKS, Embedder
from pipelines.runtime import Progress
from pipelines.store import fingerprints
from pipelines.store.catalogue import IDS_PER_FILTER, Catalogue, new_run_id

log = logging.getLogger(__name__)

STAGE = "embed"
# Tracks given to Ray Data at once: bounds the driver's memory; each wave loads the model anew, some seconds
WAVE_TRACKS = 20_000
# A call of an actor; more tracks make larger fragments, fewer of them keep every actor busy to the end
TRACKS_PER_CALL, CALLS_AN_ACTOR = 16, 16
# Of a call whose actor died; Ray's default is for ever. Until a lost node is known to be lost, some 20 s, Ray tries its
# actors again and again: two tries were gone in five
CALL_RETRIES = 30


@dataclass(frozen=True)
class EmbedSummary:
    """Counts of one run."""

    run_id: str
    model_id: str
    tracks: int = 0  # embedded now
    already: int = 0  # have the fingerprints of this model
    windows: int = 0
    not_finite: int = 0
    audio_s: float = 0.0
    seconds: float = 0.0
    dtype: str = "float32"

    def __str__(self) -> str:
        if not self.tracks:
            return f"nothing to embed, all {self.already:,} tracks have their fingerprints (model {self.model_id})"
        text = f"{self.tracks:,} tracks embedded, {self.windows:,} windows, {self.already:,} tracks done before"
        return f"{text} (model {self.model_id}, {self.dtype})"


def embed(catalogue: Catalogue, config: Config, weights: str, progress: Progress | None = None) -> EmbedSummary:
    """Give every live track its fingerprints by the model `weights`; changed tracks lose their old ones.

    Needs a running Ray (`pipelines.runtime.start_ray`). Commits every `segment.commit_tracks` tracks, so a killed run
    is simply started again. Raises CatalogueError, ConfigError, FileNotFoundError; where Ray workers keep dying, what
    is done by then is committed first.
    """
    catalogue.check_geometry(config.segment)
    run = _Run(catalogue, config, fingerprints.load_model(weights, config), progress)
    outcome = "failed"
    try:
        todo = run.todo()
        while wave := list(itertools.islice(todo, WAVE_TRACKS)):
            run.work(wave)
        outcome = "done"
    finally:
        run.commit()
        summary = run.summary()
        if summary.tracks or outcome == "failed":
            record = {"verb": STAGE, "outcome": outcome, "config": to_dict(config), "weights": weights}
            catalogue.record_run(summary.run_id, record | {"counts": dataclasses.asdict(summary)})
    log.info("embed: %s", summary)
    return summary


class _Run:
    """State of one run in the driver: what is there, what waits to be committed, what was counted."""

    def __init__(self, catalogue: Catalogue, config: Config, model: Fingerprinter, progress: Progress | None) -> None:
        self._catalogue, self._config, self._model, self._progress = catalogue, config, model, progress
        self._started = time.monotonic()
        self._run_id, self._dtype = new_run_id(STAGE), "float32"
        self._name = fingerprints.table_name(model.model_id)
        self._live = catalogue.live()
        self._done: set[str] = set()
        self._stale: set[str] = set()
        for track_id, content_hash in fingerprints.embedded(catalogue.table(self._name)):
            if self._live.get(track_id) == content_hash:
                self._done.add(track_id)
            else:
                self._stale.add(track_id)
        self._counts = {"tracks": 0, "windows": 0, "not_finite": 0}
        self._audio_s = 0.0
        self._already = len(self._done)
        self._fragments: list[str] = []
        self._waiting: list[str] = []

    def todo(self) -> Iterator[dict[str, Any]]:
        """Live tracks (rows of TRACKS) without fingerprints, and those whose audio has changed since, by id.

        Rows get into the table in this order, however often a run is killed: what is near in the table is searched
        together, so another order is another sweep, by a candidate in two hundred.
        """
        wanted = sorted(self._live.keys() - self._done)
        for start in range(0, len(wanted), IDS_PER_FILTER):
            rows = self._catalogue.tracks_of(wanted[start : start + IDS_PER_FILTER]).select(TRACKS.names)
            for row in rows.sort_by("track_id").to_pylist():
                # one whose audio changed after `live` was read is left to the next run
                if self._live[row["track_id"]] == row["content_hash"]:
                    yield row

    def work(self, tracks: list[dict[str, Any]]) -> None:
        """Run one wave through Ray Data; results come as calls end."""
        import ray.data

        fingerprints.create(self._catalogue, self._name, self._model.dim)
        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0))
        actors = max(1, gpus or int(resources.get("CPU", 1)))
        size = max(1, min(TRACKS_PER_CALL, len(tracks) // (actors * CALLS_AN_ACTOR)))
        calls = [pa.Table.from_pylist(tracks[i : i + size], schema=TRACKS) for i in range(0, len(tracks), size)]
        actors = min(actors, len(calls))
        with warnings.catch_warnings():
            # Ray 2.60 has no other place to say how often a call may be lost; it warns that 2.64 will
            warnings.simplefilter("ignore", DeprecationWarning)
            data = ray.data.from_arrow(calls)
            data.context.execution_options.preserve_order = True
            outcomes = data.map_batches(
                Embedder,
                batch_size=None,  # a block is a call's tracks
                batch_format="pyarrow",
                fn_constructor_args=(ray.put(self._model), self._catalogue.location.uri),
                compute=ray.data.ActorPoolStrategy(size=actors),
                num_cpus=1,
                num_gpus=1 if gpus else None,
                max_task_retries=CALL_RETRIES,
            )
        for batch in outcomes.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            for row in batch.to_pylist():
                self._take(row)

    def _take(self, outcome: dict[str, Any]) -> None:
        self._fragments += outcome["fragments"]
        self._waiting += outcome["track_ids"]
        self._counts["tracks"] += len(outcome["track_ids"])
        self._counts["windows"] += outcome["windows"]
        self._counts["not_finite"] += outcome["not_finite"]
        self._audio_s += outcome["audio_s"]
        self._dtype = outcome["dtype"]
        if len(self._waiting) >= self._config.segment.commit_tracks:
            self.commit()
        if self._progress is not None:
            done, total = self._already + self._counts["tracks"], len(self._live)
            self._progress({"stage": STAGE, "done": done, "total": total, "audio_s": self._audio_s})

    def commit(self) -> None:
        """Make what has come so far visible."""
        if self._fragments:
            stale = [track_id for track_id in self._waiting if track_id in self._stale]
            fingerprints.append(self._catalogue, self._name, self._fragments, stale)
        self._fragments, self._waiting = [], []

    def summary(self) -> EmbedSummary:
        if zeroed := self._counts["not_finite"]:
            log.warning("%d vectors were not finite and are zero now: are the weights sound?", zeroed)
        seconds = time.monotonic() - self._started
        return EmbedSummary(
            self._run_id,
            self._model.model_id,
            **self._counts,
            already=self._already,
            audio_s=self._audio_s,
            seconds=seconds,
            dtype=self._dtype,
        )
