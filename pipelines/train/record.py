"""The files that a training run writes to its output: weights, progress, curves, and a batch with a non-finite loss."""

from __future__ import annotations

import io
import json
import logging
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from asid_core.learning.loop import Loop, Measured, NotANumber
from asid_core.model.fingerprinter import Fingerprinter
from pipelines.store.files import read_json
from pipelines.store.location import Location
from pipelines.store.weights import local_weights

log = logging.getLogger(__name__)

LOG_EVERY_S = 10.0


def load_weights(uri: str) -> Fingerprinter:
    """`Fingerprinter.from_pretrained` for a name, a directory or an s3:// prefix."""
    with local_weights(uri) as directory:
        return Fingerprinter.from_pretrained(directory)


def save_weights(model: Fingerprinter, where: Location) -> None:
    """`Fingerprinter.save` to a local path or s3://. Writes each file atomically, the config last."""
    with tempfile.TemporaryDirectory(prefix="asid-") as directory:
        model.save(Path(directory))
        for name in ("model.safetensors", "config.json"):
            where.join(name).write_bytes((Path(directory) / name).read_bytes())


class Record:
    """Logs progress and writes weights. Active in the first worker only; in the others it does nothing."""

    def __init__(self, output: Location, rank: int, what: str) -> None:
        self.output, self.rank, self.what = output, rank, what
        self.started = self.logged = time.monotonic()
        self.steps = 0
        if rank == 0:
            from tensorboardX import SummaryWriter  # comes with ray[train]

            self._folder = tempfile.TemporaryDirectory(prefix="asid-")
            self._board = SummaryWriter(self._folder.name)
            self.best = float(read_progress(output).get("best", {}).get("score", float("-inf")))

    def step(self, measured: Measured) -> None:
        if self.rank:
            return
        self.steps += 1
        for name, value in {**asdict(measured), **measured.values}.items():
            if isinstance(value, float):
                self._board.add_scalar(f"train/{name}", value, measured.step)
        now = time.monotonic()
        if self.steps == 1 or now - self.logged > LOG_EVERY_S:
            rate = self.steps / (now - self.started)
            self.logged = now
            write_progress(self.output, read_progress(self.output) | {"now": {"step": measured.step, "steps_s": rate}})
            log.info("step %d: loss %.3f, %s, %.2f steps/s", measured.step, measured.loss, measured.values, rate)

    def check(self, loop: Loop, figures: dict[str, float], model: Fingerprinter) -> None:
        """Save `model` as `latest`, and as `best` if the score improved; then update progress.json."""
        for name, value in figures.items():
            self._board.add_scalar(f"validation/{name}", value, loop.step)
        log.info("step %d of %d: validation %s", loop.step, loop.steps, figures)
        save_weights(model, self.output.join("latest"))
        progress = read_progress(self.output) | {"latest": {"step": loop.step, **figures}, "steps": loop.steps}
        progress["what"] = self.what
        if figures["score"] > self.best:
            self.best = figures["score"]
            save_weights(model, self.output.join("best"))
            progress["best"] = progress["latest"]
        write_progress(self.output, progress)
        self._publish()

    def not_a_number(self, error: NotANumber) -> None:
        if self.rank:
            return
        buffer = io.BytesIO()
        torch.save({"step": error.step, "references": error.pairs.references, "queries": error.pairs.queries}, buffer)
        self.output.join(f"not-a-number-{error.step}.pt").write_bytes(buffer.getvalue())
        progress = read_progress(self.output) | {"stopped": str(error), "what": self.what}
        write_progress(self.output, progress)

    def _publish(self) -> None:
        self._board.flush()
        for path in Path(self._folder.name).iterdir():
            self.output.join("tensorboard", path.name).write_bytes(path.read_bytes())

    def close(self) -> None:
        if self.rank == 0:
            self._publish()
            self._board.close()
            self._folder.cleanup()


def read_progress(output: Location) -> dict[str, Any]:
    """The contents of progress.json; empty if nothing was trained yet."""
    try:
        progress: dict[str, Any] = read_json(output.join("progress.json"))
    except FileNotFoundError:
        return {}
    return progress


def write_progress(output: Location, progress: dict[str, Any]) -> None:
    """Replace progress.json."""
    output.join("progress.json").write_bytes(json.dumps(progress, indent=1).encode())
