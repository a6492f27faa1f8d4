"""stems and a trained encoder -> a reranker. The encoder stays frozen; negatives are the hardest of each batch."""

from __future__ import annotations

from asid_core.config import Config
from asid_core.plain_values import to_dict
from pipelines.runtime import ProgressCallback
from pipelines.train.training import Trained, TrainingError, train
from pipelines.train.worker import Job


def train_reranker(
    stems_uri: str,
    output_uri: str,
    config: Config,
    weights: str,
    workers: int = 1,
    progress: ProgressCallback | None = None,
    on_gpus: bool = False,
) -> Trained:
    """Train the reranker of `config` on the encoder of `weights`. Needs a running Ray. Raises TrainingError.

    on_gpus: refuse to train on CPUs.
    """
    if not config.model.reranker.exists:
        raise TrainingError("the config has no reranker. Set model.reranker.heads=4.")
    training = config.training
    job = Job(
        "reranker", to_dict(config), output_uri, training.reranker_steps, training.reranker_learning_rate, weights
    )
    return train(job, stems_uri, config, workers, progress, on_gpus)
