"""What a training run leaves under its output: weights, progress, curves, and the batch that broke it."""

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

log = logging.getLogger(__name__)

LOG_EVERY_S = 10.0


def load_weights(uri: str) -> Fingerprinter:
    """`Fingerprinter.from_pretrained` of a name, a directory or an s3:// prefix."""
    if not uri.startswith("s3://"):
        return Fingerprinter.from_pretrained(uri)
    with tempfile.TemporaryDirectory(prefix="asid-") as directory:
        for name in ("config.json", "model.safetensors"):
            (Path(directory) / name).write_bytes(Location(uri).join(name).read_bytes())
        return Fingerprinter.from_pretrained(directory)


def save_weights(model: Fingerprinter, where: Location) -> None:
    """`Fingerprinter.save` to a local path or s3://, each file in one atomic step, the config last."""
    with tempfile.TemporaryDirectory(prefix="asid-") as directory:
        model.save(Path(directory))
        for name in ("model.safetensors", "config.json"):
            where.join(name).write_bytes((Path(directory) / name).read_bytes())


class Record:
    """What the first worker tells and keeps; the others' do nothing."""

    def __init__(self, output: Location, rank: int, what: str) -> None:
        self.output, self.rank, self.what = output, rank, what
        self.started = self.told = time.monotonic()
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
        if self.steps == 1 or now - self.told > LOG_EVERY_S:
            rate = self.steps / (now - self.started)
            self.told = now
            write_progress(self.output, read_progress(self.output) | {"now": {"step": measured.step, "steps_s": rate}})
            log.info("step %d: loss %.3f, %s, %.2f steps/s", measured.step, measured.loss, measured.values, rate)

    def check(self, loop: Loop, figures: dict[str, float]) -> None:
        """Keep `latest`, and `best` where it is; then say so in progress.json."""
        for name, value in figures.items():
            self._board.add_scalar(f"validation/{name}", value, loop.step)
        log.info("step %d of %d: validation %s", loop.step, loop.steps, figures)
        save_weights(loop.task.model, self.output.join("latest"))
        progress = read_progress(self.output) | {"latest": {"step": loop.step, **figures}, "steps": loop.steps}
        progress["what"] = self.what
        if figures["score"] > self.best:
            self.best = figures["score"]
            save_weights(loop.task.model, self.output.join("best"))
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
    """What progress.json says; empty where nothing was trained yet."""
    try:
        found: dict[str, Any] = read_json(output.join("progress.json"))
    except FileNotFoundError:
        return {}
    return found


def write_progress(output: Location, progress: dict[str, Any]) -> None:
    """Replace progress.json."""
    output.join("progress.json").write_bytes(json.dumps(progress, indent=1).encode())
