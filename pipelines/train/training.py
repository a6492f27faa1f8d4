"""Ray Train around asid_core's loop. The same for encoder and reranker.

A run leaves under its output `latest/` and `best/` (what `Fingerprinter.from_pretrained` takes), `progress.json` (where
it stands), `tensorboard/`, and Ray's own checkpoints in a folder named after what is trained. The same command goes on
from the last of these, and does nothing where all steps are done.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from asid_core.config import Config
from pipelines.runtime import ProgressCallback
from pipelines.store.location import Location
from pipelines.train.record import read_progress, write_progress
from pipelines.train.stem_files import READING_CPUS
from pipelines.train.stems import StemTables
from pipelines.train.worker import Job, work

log = logging.getLogger(__name__)

VALIDATION_ROWS = 256
TELL_EVERY_S = 5.0
WORKER_RESTARTS = 3  # a worker that is lost: all start again from the last checkpoint


class TrainingError(RuntimeError):
    """Training that cannot go on; the message says what to do."""


@dataclass(frozen=True)
class Trained:
    """How a run ended. `best` and `latest`: figures by name."""

    steps: int
    already: bool  # all steps had been done before
    best: dict[str, float]
    latest: dict[str, float]
    resumed_from: int = 0  # the step at which this run began


def train(job: Job, stems_uri: str, config: Config, workers: int, progress: ProgressCallback | None = None) -> Trained:
    """Do `job` (its validation rows are filled in here) on the tables at `stems_uri`, with a running Ray.

    Raises TrainingError where the output holds another training, the loss is no number or workers keep failing.
    """
    output, tables = Location(job.output), StemTables(stems_uri)
    found = read_progress(output)
    _check_same(found, job, output)
    if found.get("latest", {}).get("step", 0) >= job.steps and "stopped" not in found:
        return Trained(job.steps, True, found.get("best", {}), found["latest"])
    first = int(found.get("latest", {}).get("step", 0))
    if first:
        log.info("resuming from step %d of %d", first, job.steps)
    held_out, trained = tables.split(config.training.held_out)
    log.info("%d tracks (%d spans) to train on, %d held out", len(trained), tables.count(trained), len(held_out))
    mine = {"what": job.what, "model": job.config["model"], "training": job.config["training"]}
    write_progress(output, {key: value for key, value in found.items() if key != "stopped"} | mine)
    with _told(output, job, progress):
        _fit(replace(job, validation=tables.read(held_out, VALIDATION_ROWS)), tables, trained, output, workers)
    after = read_progress(output)
    if "stopped" in after:
        raise TrainingError(
            f"{after['stopped']}; the batch is in {output}/not-a-number-*.pt. Lower training.learning_rate, and the "
            "same command goes on from the last checkpoint"
        )
    return Trained(job.steps, False, after.get("best", {}), after.get("latest", {}), first)


def _check_same(found: dict[str, Any], job: Job, output: Location) -> None:
    """The output must be empty or hold this very training; its settings may differ."""
    if found and (found.get("what"), found.get("model")) != (job.what, job.config["model"]):
        raise TrainingError(f"{output} holds the training of another model ({found.get('what')}): use another --output")


@contextlib.contextmanager
def _told(output: Location, job: Job, progress: ProgressCallback | None) -> Iterator[None]:
    """While the block runs, tell where the workers say they are."""
    if progress is None:
        yield
        return
    ended = threading.Event()

    def tell() -> None:
        while not ended.wait(TELL_EVERY_S):
            now = read_progress(output).get("now", {})
            progress(
                {"stage": f"train {job.what}", "done": int(now.get("step", 0)), "total": job.steps, "unit": "steps"}
            )

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _fit(job: Job, tables: StemTables, tracks: list[str], output: Location, workers: int) -> None:
    import ray
    import ray.train
    from ray.train.torch import TorchTrainer

    resources = ray.cluster_resources()
    gpu = resources.get("GPU", 0) >= workers
    # reading the spans needs some of a CPU as well, and would wait for ever where the workers hold them all
    cpus = min(1 - READING_CPUS, 0.5 * resources.get("CPU", 1) / workers)
    filesystem, path = output.arrow()
    trainer = TorchTrainer(
        work,
        train_loop_config={"job": job, "started": time.time()},
        scaling_config=ray.train.ScalingConfig(
            num_workers=workers, use_gpu=gpu, resources_per_worker={"CPU": cpus, **({"GPU": 1} if gpu else {})}
        ),
        datasets={"train": tables.dataset(tracks)},
        run_config=ray.train.RunConfig(
            name=f"ray-{job.what}",
            storage_path=path,
            storage_filesystem=filesystem,
            failure_config=ray.train.FailureConfig(max_failures=WORKER_RESTARTS),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=2),
        ),
    )
    try:
        trainer.fit()
    except ray.train.TrainingFailedError as error:
        raise TrainingError(
            f"the workers failed {WORKER_RESTARTS + 1} times, at last with: {error}; the same command goes on from the "
            "last checkpoint"
        ) from error
