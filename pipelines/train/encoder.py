"""stems -> an encoder. Networks are trained contrastively on Ray Train; for linear encoders, a projection is fitted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from asid_core.config import Config, RerankerConfig, ScoreConfig
from asid_core.learning.front_end_spectra import spectra_of
from asid_core.learning.growth import from_discriminant
from asid_core.learning.pairs import make_pairs
from asid_core.learning.projection import fit_discriminant, fit_projection
from asid_core.learning.span_cache import SpanCache
from asid_core.learning.spans import to_batch
from asid_core.model.fingerprinter import Fingerprinter
from asid_core.plain_values import to_dict
from asid_core.signal.windows import window_starts
from pipelines.runtime import ProgressCallback
from pipelines.store.location import Location
from pipelines.train.record import load_weights, save_weights
from pipelines.train.stem_files import SPAN_SAMPLES, StemTables
from pipelines.train.training import Trained, TrainingError, train
from pipelines.train.worker import Job


def train_encoder(
    stems_uri: str,
    output_uri: str,
    config: Config,
    workers: int = 1,
    weights: str | None = None,
    progress: ProgressCallback | None = None,
    on_gpus: bool = False,
) -> Trained:
    """Train the encoder of `config` on stem tables, starting from `weights` if given.

    The global batch has workers * training.batch_pairs pairs. on_gpus: refuse to train on CPUs. Needs a running Ray.
    Raises TrainingError.
    """
    training = config.training
    if config.model.encoder.starts_from_projection and weights is None:
        raise TrainingError(
            "encoder.head: gains starts from a projection. Fit one with --config discriminant, then pass its --weights."
        )
    if weights is not None:
        _check_start(config, weights)
    job = Job("encoder", to_dict(config), output_uri, training.steps, training.learning_rate, weights)
    return train(job, stems_uri, config, workers, progress, on_gpus)


def _check_start(config: Config, weights: str) -> None:
    """Raise TrainingError if training by `config` cannot start from these weights, before any worker tries it."""
    start = load_weights(weights)
    given, wanted = start.config.model, config.model
    try:
        if given.encoder.is_fitted:
            from_discriminant(config, start)
        elif (given.front_end, given.encoder.kind) != (wanted.front_end, wanted.encoder.kind):
            raise ValueError(f"they are of a model {given.name}, and the config is for {wanted.name}")
    except ValueError as problem:
        raise TrainingError(f"training cannot start from the weights {weights}: {problem}") from None


PAIRS_TO_FIT = 16_384  # half as many give the same mAP


def fit_discriminant_encoder(stems_uri: str, output_uri: str, config: Config) -> int:
    """Fit the projection of a `discriminant` config to synthetic training pairs, in this process, without Ray.

    Leaves out the tracks of training.held_out. Writes `best/`, a model without a reranker and with the default score.
    Returns the number of pairs used. Raises StorageError if there are no usable tables.
    """
    tables, training = StemTables(stems_uri), config.training
    _, tracks = tables.split(training.held_out)
    encoder_alone = replace(config.model, reranker=RerankerConfig(heads=0))
    model = Fingerprinter(replace(config, model=encoder_alone, score=ScoreConfig())).eval()
    torch.manual_seed(training.seed)
    generator = np.random.default_rng(training.seed)
    spectra = spectra_of(model.front_end, training.augmentation.semitones)
    cache = SpanCache(spectra, training.augmentation)
    for rows in tables.batches(tracks):
        if rows.num_rows:
            cache.add(to_batch(rows, SPAN_SAMPLES, generator))
    batches = -(-PAIRS_TO_FIT // training.batch_pairs)
    drawn = (cache.draw(training.batch_pairs, generator) for _ in range(batches))
    pairs = (make_pairs(batch, spectra, training, difficulty=1.0) for batch in drawn)
    model.encoder.projection().copy_(fit_discriminant(pairs, model.dim))
    save_weights(model, Location(output_uri).join("best"))
    return batches * training.batch_pairs


def fit_linear(stems_uri: str, output_uri: str, config: Config) -> int:
    """Fit the projection of a `linear` config to the spans of training tables, in this process, without Ray.

    Writes `best/`, for `Fingerprinter.from_pretrained`, and returns the number of windows used.
    Raises StorageError if there are no tables.
    """
    tables = StemTables(stems_uri)
    model = Fingerprinter(config).eval()
    samples, windows = SPAN_SAMPLES, 0

    def patches() -> Iterator[Tensor]:
        nonlocal windows
        generator = np.random.default_rng(config.training.seed)
        for rows in tables.batches(tables.tracks):
            if not rows.num_rows:
                continue
            batch = to_batch(rows, samples, generator)
            for features in model.features(batch.sources + batch.rests):
                starts = window_starts(config.model.front_end, features.shape[1])
                batch_patches = model.front_end.patches(model.front_end.windows(features)[starts])
                windows += len(batch_patches)
                yield batch_patches

    model.encoder.projection().copy_(fit_projection(patches(), model.dim))
    save_weights(model, Location(output_uri).join("best"))
    return windows
