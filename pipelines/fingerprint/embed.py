"""segments -> fingerprints: skips tracks that are done, encodes the others on a pool of actors, commits fragments."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from asid_core.config import Config
from asid_core.model.fingerprinter import Fingerprinter
from asid_core.plain_values import ConfigError, to_dict
from pipelines import driver
from pipelines.driver import WAVE, Stage, cpus, drive, map_blocks
from pipelines.fingerprint.embed_actor import TRACKS, Embedder
from pipelines.runtime import ProgressCallback, is_own_ray
from pipelines.store import fingerprints
from pipelines.store.catalogue import Catalogue, new_run_id
from pipelines.store.embedded import embedded
from pipelines.store.pairs import both, without

log = logging.getLogger(__name__)

STAGE = "embed"
# More tracks per call make larger fragments; more calls per actor keep all actors busy to the end
TRACKS_PER_CALL, CALLS_PER_ACTOR = 16, 16


@dataclass(frozen=True)
class EmbedSummary:
    """Counts of one run of `embed`."""

    run_id: str
    model_id: str
    tracks: int = 0  # embedded now
    already: int = 0  # had fingerprints of this model
    windows: int = 0
    not_finite: int = 0  # vectors with NaN or infinity, which were zeroed
    audio_s: float = 0.0
    seconds: float = 0.0
    dtype: str = "float32"

    def __str__(self) -> str:
        if not self.tracks:
            return f"nothing to embed: all {self.already:,} tracks have fingerprints (model {self.model_id})"
        text = f"{self.tracks:,} tracks embedded, {self.windows:,} windows, {self.already:,} tracks already done"
        return f"{text} (model {self.model_id}, {self.dtype})"


def embed(
    catalogue: Catalogue,
    config: Config,
    weights: str,
    progress: ProgressCallback | None = None,
    gpus: int | None = None,
) -> EmbedSummary:
    """Compute the fingerprints of every live track with the model `weights`, replacing those of changed tracks.

    gpus: GPUs that encode, which an autoscaler may still have to bring; None: those that are there. Without GPUs, all
    CPUs encode. A projection is always computed on CPUs, because preparing its input takes longer than the product.
    Needs a running Ray (`pipelines.runtime.start_ray`). Commits every `segment.commit_tracks` tracks, so a killed run
    is simply started again. Raises CatalogueError, ConfigError or FileNotFoundError; if Ray workers keep dying, commits
    what is done before it raises.
    """
    model = fingerprints.load_model(weights, config)
    catalogue.geometry.check_windows(model.config.model.front_end.window_frames, model.hop_samples)
    with catalogue.writing(STAGE):
        run = _Run(catalogue, config, model, gpus)
        outcome = "failed"
        try:
            drive(run, progress)
            embedded(catalogue, run.table, catalogue.table(run.table))  # lists the new tracks for later stages
            outcome = "done"
        finally:
            summary = run.summary()
            if summary.tracks or outcome == "failed":
                record = {"verb": STAGE, "outcome": outcome, "config": to_dict(config), "weights": weights}
                catalogue.record_run(summary.run_id, record | {"counts": dataclasses.asdict(summary)})
    log.info("embed: %s", summary)
    return summary


def gpus_to_use(model: Fingerprinter, asked: int | None) -> int:
    """As `embed` says. Raises ConfigError if this machine lacks them and nothing can bring them."""
    there = driver.gpus()
    if not model.encoder.needs_gpu:
        return 0
    if asked is None or asked <= there:
        return there if asked is None else asked
    if is_own_ray():
        raise ConfigError(f"{asked} GPUs are asked for, but this machine has {there}")
    log.info("waiting for %d GPUs, of which %d are there", asked, there)
    return asked


class _Run(Stage[dict[str, Any], dict[str, Any]]):
    """State of one run in the driver: what the catalogue holds, what waits to be committed, and counts."""

    name = STAGE

    def __init__(self, catalogue: Catalogue, config: Config, model: Fingerprinter, gpus: int | None) -> None:
        self._catalogue, self._model = catalogue, model
        self._gpus = gpus_to_use(model, gpus)
        self.commit_items = config.segment.commit_tracks
        self._started = time.monotonic()
        self._run_id, self._dtype = new_run_id(STAGE), "float32"
        self.table = fingerprints.table_name(model.model_id)
        live, table = catalogue.live(), catalogue.table(self.table)
        self._seen = table.version if table is not None else 0  # the table version that `there` was read from
        there = embedded(catalogue, self.table, table)
        self._wanted = without(live, there).sort_by("track_id")
        self._stale = set(without(there, live)["track_id"].to_pylist())
        self._total, self._already = live.num_rows, live.num_rows - self._wanted.num_rows
        self._counts = {"tracks": 0, "windows": 0, "not_finite": 0}
        self._audio_s = 0.0
        self._fragments: list[str] = []
        self._waiting: list[str] = []

    def todo(self) -> Iterator[dict[str, Any]]:
        """Live tracks (rows of TRACKS) without fingerprints or with changed audio, in order of track id.

        Rows enter the table in this order, however often a run is killed. The search handles neighbouring rows
        together, so another order would change a sweep slightly.
        """
        for start in range(0, self._wanted.num_rows, WAVE):
            wanted = self._wanted.slice(start, WAVE)
            rows = self._catalogue.tracks_of(wanted["track_id"].to_pylist()).select(TRACKS.names)
            # a track whose audio changed since the live tracks were read is left to the next run
            yield from both(rows, wanted).sort_by("track_id").to_pylist()

    def submit(self, items: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Rows of OUTCOMES in the order of the tracks. Each wave loads the model again, which takes some seconds."""
        import ray

        fingerprints.create(self._catalogue, self.table, self._model.dim)
        actors = self._gpus or cpus()
        size = max(1, min(TRACKS_PER_CALL, len(items) // (actors * CALLS_PER_ACTOR)))
        blocks = [pa.Table.from_pylist(items[i : i + size], schema=TRACKS) for i in range(0, len(items), size)]
        arguments = (ray.put(self._model), self._catalogue.location.uri)
        return map_blocks(Embedder, blocks, actors, self._gpus > 0, fn_constructor_args=arguments)

    def take(self, outcome: dict[str, Any]) -> None:
        self._fragments += outcome["fragments"]
        self._waiting += outcome["track_ids"]
        self._counts["tracks"] += len(outcome["track_ids"])
        self._counts["windows"] += outcome["windows"]
        self._counts["not_finite"] += outcome["not_finite"]
        self._audio_s += outcome["audio_s"]
        self._dtype = outcome["dtype"]

    def waiting(self) -> int:
        return len(self._waiting)

    def commit(self) -> None:
        """Make the rows received so far visible, after deleting the old rows of changed tracks."""
        # cleared first: a commit interrupted by Ctrl-C may have been done, and must not be repeated
        fragments, self._fragments = self._fragments, []
        track_ids, self._waiting = self._waiting, []
        self._catalogue.delete(self.table, "track_id", [t for t in track_ids if t in self._stale])
        if fragments:
            self._seen = fingerprints.append(self._catalogue, self.table, fragments, track_ids, self._seen)

    def counts(self) -> dict[str, Any]:
        return {"done": self._already + self._counts["tracks"], "total": self._total, "audio_s": self._audio_s}

    def summary(self) -> EmbedSummary:
        if zeroed := self._counts["not_finite"]:
            log.warning("%d vectors were not finite and were set to zero; are the weights damaged?", zeroed)
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
