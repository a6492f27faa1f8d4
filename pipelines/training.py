"""Ray Train around asid_core's loop. The same for encoder and reranker.

A run leaves under its output `latest/` and `best/` (what `Fingerprinter.from_pretrained` takes), `progress.json` (where
it stands), `tensorboard/`, and Ray's own checkpoints in a folder named after what is trained. The same command goes on
from the last of these, and does nothing where all steps are done.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass
from typing import Any

from asid_core.config import Config, to_dict
from pipelines.stems import StemTables
from pipelines.storage import Location
from pipelines.training_record import read_progress
from pipelines.training_worker import Job, work

log = logging.getLogger(__name__)

VALIDATION_ROWS = 256
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


def train(
    what: str, stems_uri: str, output_uri: str, config: Config, steps: int, rate: float, workers: int, start: str | None
) -> Trained:
    """Train `what` (encoder, reranker) to step `steps` on the tables at `stems_uri`, with a running Ray.

    Raises TrainingError where the output holds another training, the loss is no number or workers keep failing.
    """
    output, tables = Location(output_uri), StemTables(stems_uri)
    found = read_progress(output)
    _check_same(found, what, config, output)
    if found.get("latest", {}).get("step", 0) >= steps and "stopped" not in found:
        return Trained(steps, True, found.get("best", {}), found["latest"])
    held_out, trained = tables.split(config.training.held_out)
    log.info(
        "%d spans of %d tracks to train on, %d tracks held out", tables.count(trained), len(trained), len(held_out)
    )
    mine = {"what": what, "config": to_dict(config)["training"], "model": to_dict(config)["model"]}
    progress = {key: value for key, value in found.items() if key != "stopped"} | mine
    output.join("progress.json").write_bytes(json.dumps(progress, indent=1).encode())
    job = Job(what, to_dict(config), output.uri, steps, rate, start, tables.read(held_out, VALIDATION_ROWS))
    _fit(job, tables, trained, output, workers)
    after = read_progress(output)
    if "stopped" in after:
        raise TrainingError(
            f"{after['stopped']}; the batch is in {output}/not-a-number-*.pt. Lower training.learning_rate, and the "
            "same command goes on from the last checkpoint"
        )
    return Trained(steps, False, after.get("best", {}), after.get("latest", {}))


def _check_same(found: dict[str, Any], what: str, config: Config, output: Location) -> None:
    """The output must be empty or hold this very training; the steps may differ."""
    wanted = to_dict(config)
    if not found:
        return
    same = found.get("what") == what and found.get("model") == wanted["model"]
    if not same:
        raise TrainingError(f"{output} holds the training of another model ({found.get('what')}): use another --output")


def _fit(job: Job, tables: StemTables, tracks: list[str], output: Location, workers: int) -> None:
    import ray
    import ray.train
    from ray.train.torch import TorchTrainer

    gpu = ray.cluster_resources().get("GPU", 0) >= workers
    filesystem, path = output.arrow()
    trainer = TorchTrainer(
        work,
        train_loop_config={"job": job, "started": time.time()},
        scaling_config=ray.train.ScalingConfig(num_workers=workers, use_gpu=gpu),
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
