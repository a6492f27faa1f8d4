"""Training of the aligned reranker."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from asid_core.config import AugmentationConfig, Config, RerankerConfig, load
from asid_core.learning.aligned import AlignedRerankerTask, reranker_task
from asid_core.learning.loop import Loop
from asid_core.learning.pairs import Batch, Pairs
from asid_core.learning.tasks import RerankerTask
from asid_core.model.aligned_reranker import PATCH
from asid_core.model.fingerprinter import Fingerprinter

ROWS = 12


def small(augmentation: AugmentationConfig | None = None) -> Config:
    config = load("discriminant")
    training = replace(config.training, augmentation=augmentation or config.training.augmentation, warmup_steps=0)
    reranker = RerankerConfig(kind="aligned", channels=4)
    return replace(config, model=replace(config.model, reranker=reranker), training=training)


def melodies(task: AlignedRerankerTask) -> Batch:
    """One row of random notes for each melody, 0.2 s per note."""
    spectra = task.spectra()
    samples = spectra.cut_samples(max(task.training.augmentation.tempo_ratios), 0.1)
    generator = torch.Generator().manual_seed(0)
    hz = 110 * 2 ** (torch.randint(48, (ROWS, samples // 3200 + 1), generator=generator) / 12)
    phase = (hz.repeat_interleave(3200, 1)[:, :samples] / 16_000).cumsum(1)
    envelope = torch.linspace(1, 0, 3200).repeat(samples // 3200 + 1)[:samples]
    waves = torch.sin(2 * torch.pi * phase) * envelope
    return Batch(waves, torch.zeros_like(waves), torch.zeros(ROWS, dtype=torch.bool), torch.arange(ROWS))


@pytest.mark.parametrize("ratio", [0.7, 1.4])
def test_pitch_and_tempo_of_the_query_are_undone(ratio: float) -> None:
    torch.manual_seed(0)
    quiet = dict(gain_db=0.0, equaliser_db=0.0, low_cut_hz=20.0, high_cut_hz=8000.0, reverb_s=0.0, codec_db=120.0)
    changed = AugmentationConfig(
        semitones=0.5, tempo_ratios=(ratio, ratio), together=True, background_db=(-60.0, -60.0), offset_s=0.0, **quiet
    )
    task = AlignedRerankerTask(Fingerprinter(small(changed)), small(changed).training)
    pairs = task.pairs(melodies(task), task.spectra(), 1.0)
    assert pairs.queries.shape == pairs.references.shape == (ROWS, *PATCH.patch_size)
    cosines = pairs.queries.flatten(1) @ pairs.references.flatten(1).T
    assert cosines.diagonal().min() > 0.6
    assert (cosines.argmax(1) == torch.arange(ROWS)).all()


def drawn(count: int = 32) -> Pairs:
    """Queries that are a mix of their reference and something else."""
    references, others = (
        torch.rand(count, *PATCH.patch_size) * (torch.rand(count, *PATCH.patch_size) > 0.8) for _ in "ab"
    )
    nothing = torch.zeros(count, count, dtype=torch.bool)
    return Pairs(references, torch.maximum(references, others), nothing, None, torch.randperm(10**6)[:count])


def test_it_learns_and_the_encoder_stays() -> None:
    torch.manual_seed(0)
    model = Fingerprinter(small())
    task = reranker_task(model, model.config.training)
    loop = Loop(task, model.config.training, 60, 5e-3)
    encoder = {name: value.clone() for name, value in model.encoder.state_dict().items()}
    held_out = drawn(64)
    before = task.validate(held_out)["auc"]
    task.train()
    for _ in range(60):
        loop.take(drawn())
    assert task.validate(held_out)["score"] > max(0.9, before)
    assert all(torch.equal(value, encoder[name]) for name, value in model.encoder.state_dict().items())


def test_what_a_query_samples_is_never_its_negative() -> None:
    torch.manual_seed(0)
    model = Fingerprinter(small())
    task = AlignedRerankerTask(model, model.config.training)
    asked: list[torch.Tensor] = []

    class Noted(torch.nn.Module):
        def forward(self, queries: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
            asked.append(references)
            return torch.zeros(len(queries))

    pairs = drawn(24)
    for _ in range(3):  # the second and third time their own windows are in the queue
        task.loss(Noted().train(), pairs, None, 0)
    for references in asked:
        positive, negative = references[:24].half(), references[24:].half().unflatten(0, (24, 3))
        for row in range(24):
            own = torch.stack([positive[row], positive[row - 1]])  # what it samples, and its background
            assert not any(torch.equal(one, other) for one in negative[row] for other in own)


def test_a_model_without_it_is_refused() -> None:
    model = Fingerprinter(load("discriminant"))
    without = replace(model.config, model=replace(model.config.model, reranker=RerankerConfig(heads=0)))
    with pytest.raises(ValueError, match="kind to aligned"):
        AlignedRerankerTask(Fingerprinter(without), without.training)
    with pytest.raises(ValueError, match="heads to 4"):
        RerankerTask(Fingerprinter(without), without.training)
