"""Runs asid_core's training loop on Ray Train, for encoders and rerankers.

The output holds `latest/` and `best/` (for `Fingerprinter.from_pretrained`), `progress.json`, `tensorboard/`, and Ray's
checkpoints in a folder named after what is trained. Running the same command again resumes from the last checkpoint,
and does nothing if all steps are done.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from asid_core.config import Config
from pipelines import driver
from pipelines.runtime import ProgressCallback, is_own_ray
from pipelines.store.location import Location
from pipelines.train.record import read_progress, write_progress
from pipelines.train.stem_files import READING_CPUS
from pipelines.train.stems import StemTables
from pipelines.train.worker import Job, dataset_name, work

log = logging.getLogger(__name__)

VALIDATION_ROWS = 256
REPORT_EVERY_S = 5.0
GPU_WAIT_S = 900.0  # an autoscaler takes some minutes to start GPU nodes
WORKER_RESTARTS = 3  # if a worker is lost, all restart from the last checkpoint


class TrainingError(RuntimeError):
    """Training cannot continue. The message says what to do."""


@dataclass(frozen=True)
class Trained:
    """The result of a run. `best` and `latest`: validation figures by name."""

    steps: int
    already: bool  # all steps were done by an earlier run
    best: dict[str, float]
    latest: dict[str, float]
    resumed_from: int = 0  # the step at which this run began


def train(
    job: Job,
    stems_uri: str,
    config: Config,
    workers: int,
    progress: ProgressCallback | None = None,
    on_gpus: bool = False,
) -> Trained:
    """Run `job` on the tables at `stems_uri`, after filling in its validation rows. Needs a running Ray.

    on_gpus: whether to refuse to train on CPUs.

    Raises TrainingError if the output belongs to another training, the loss is not finite, or workers keep failing.
    """
    output, tables = Location(job.output), StemTables(stems_uri)
    # workers have other working folders
    start = str(Path(job.start).absolute()) if job.start is not None and Path(job.start).is_dir() else job.start
    job = replace(job, output=output.uri, start=start)
    before = read_progress(output)
    _check_same(before, job, output)
    if before.get("latest", {}).get("step", 0) >= job.steps and "stopped" not in before:
        return Trained(job.steps, True, before.get("best", {}), before["latest"])
    first = int(before.get("latest", {}).get("step", 0))
    if first:
        log.info("resuming from step %d of %d", first, job.steps)
    held_out, trained = tables.split(config.training.held_out)
    log.info("%d tracks (%d spans) to train on, %d held out", len(trained), tables.count(trained), len(held_out))
    mine = {"what": job.what, "model": job.config["model"], "training": job.config["training"]}
    write_progress(output, {key: value for key, value in before.items() if key != "stopped"} | mine)
    with _reporting(output, job, progress):
        job = replace(job, validation=tables.read(held_out, VALIDATION_ROWS))
        _fit(job, tables, trained, output, workers, on_gpus)
    after = read_progress(output)
    if "stopped" in after:
        raise TrainingError(
            f"{after['stopped']}; the batch is in {output}/not-a-number-*.pt. Lower training.learning_rate and run "
            "again to resume from the last checkpoint."
        )
    return Trained(job.steps, False, after.get("best", {}), after.get("latest", {}), first)


def _check_same(before: dict[str, Any], job: Job, output: Location) -> None:
    """Raise TrainingError if `output` holds the training of another model. Its training settings may differ."""
    if before and (before.get("what"), before.get("model")) != (job.what, job.config["model"]):
        raise TrainingError(
            f"{output} holds the training of another model ({before.get('what')}); use another --output"
        )


@contextlib.contextmanager
def _reporting(output: Location, job: Job, progress: ProgressCallback | None) -> Iterator[None]:
    """While the block runs, report the progress that the workers have written to `output`."""
    if progress is None:
        yield
        return
    ended = threading.Event()

    def report() -> None:
        while not ended.wait(REPORT_EVERY_S):
            now = read_progress(output).get("now", {})
            progress(
                {"stage": f"train {job.what}", "done": int(now.get("step", 0)), "total": job.steps, "unit": "steps"}
            )

    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def uses_gpus(workers: int, wanted: bool) -> bool:
    """Whether each worker trains on a GPU of its own. Raises TrainingError if there are too few of them for that.

    wanted: GPUs are asked for, which an autoscaler may have to bring. Otherwise a cluster without any uses its CPUs.
    """
    gpus = driver.gpus()
    if gpus >= workers or (wanted and _gpus_come(workers)):
        return True
    if gpus:
        raise TrainingError(
            f"{workers} workers need {workers} GPUs, but the cluster has {gpus}. Pass --workers {gpus}."
        )
    if wanted:
        raise TrainingError("the cluster has no GPUs. Add some, or leave out --gpu to train on CPUs.")
    return False


def _gpus_come(workers: int) -> bool:
    """Ask the cluster for GPUs, and wait for them. A Ray on this machine alone cannot get more."""
    import ray
    import ray.util

    if is_own_ray():
        return False
    wanted = ray.util.placement_group([{"GPU": 1}] * workers)
    try:
        log.info("waiting up to %.0f s for %d GPUs", GPU_WAIT_S, workers)
        ray.get(wanted.ready(), timeout=GPU_WAIT_S)
    except ray.exceptions.GetTimeoutError:
        return False
    finally:
        ray.util.remove_placement_group(wanted)
    return True


def _fit(
    job: Job, tables: StemTables, tracks: list[str], output: Location, workers: int, on_gpus: bool = False
) -> None:
    import ray
    import ray.train
    from ray.train.torch import TorchTrainer

    gpu = uses_gpus(workers, on_gpus)
    shares = tables.shares(tracks, workers)
    # leave CPUs for the tasks that read spans, which would otherwise wait forever
    cpus = min(1 - READING_CPUS, 0.5 * driver.cpus() / workers)
    filesystem, path = output.arrow()
    trainer = TorchTrainer(
        work,
        train_loop_config={"job": job, "started": time.time()},
        scaling_config=ray.train.ScalingConfig(
            num_workers=workers, use_gpu=gpu, resources_per_worker={"CPU": cpus, **({"GPU": 1} if gpu else {})}
        ),
        # each worker reads its own spans as often as it likes: split datasets wait for one another, as the gradients
        # do, so that workers would wait forever if only some had to read again
        datasets={dataset_name(rank): tables.dataset(share) for rank, share in enumerate(shares)},
        dataset_config=ray.train.DataConfig(datasets_to_split=[]),
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
            f"the workers failed {WORKER_RESTARTS + 1} times; last error: {error}. Run again to resume from the last "
            "checkpoint."
        ) from error
