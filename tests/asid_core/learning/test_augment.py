"""Pairs augmented in the spectrogram, for both front ends, compared with audio that was shifted and stretched."""

import math
from dataclasses import replace
from typing import Literal

import pytest
import torch

from asid_core.config import AugmentationConfig, TrainingConfig, load
from asid_core.learning import augment
from asid_core.learning.front_end_spectra import spectra_of
from asid_core.learning.pairs import Batch, ambiguous_rows, make_pairs
from asid_core.learning.spectra import Spectra
from asid_core.model.fingerprinter import Fingerprinter

RATE = 16_000
STILL = AugmentationConfig(semitones=0, tempo_ratios=(1.0, 1.0), gain_db=0, offset_s=0, background_db=(-200.0, -200.0))


def notes(samples: int, semitones: float = 0.0, tempo: float = 1.0, seed: int = 0) -> torch.Tensor:
    """A melody [n], transposed and sped up around its middle."""
    generator = torch.Generator().manual_seed(seed)
    pitches = torch.randint(0, 25, (200,), generator=generator)
    time = (torch.arange(samples) - samples / 2) / RATE * tempo + 20
    step = (time * 4).long()
    hz = 220 * 2 ** ((pitches[step] + semitones) / 12)
    phase = torch.cumsum(hz / RATE, 0) * 2 * math.pi
    return 0.3 * torch.sin(phase) * torch.exp(-6 * (time * 4 - step))


@pytest.fixture(params=["gnn-paper", "linear"])
def spectra(request: pytest.FixtureRequest) -> Spectra:
    return spectra_of(Fingerprinter(load(request.param)).front_end, semitones=4)


def audio(spectra: Spectra, **kind: float) -> torch.Tensor:
    return torch.stack([notes(spectra.cut_samples(1.5, 0.0), seed=seed, **kind) for seed in range(4)])


def patches(spectra: Spectra, waveforms: torch.Tensor, semitones: float = 0.0, tempo: float = 1.0) -> torch.Tensor:
    spectrum = spectra.stft(waveforms)
    rows = torch.ones(len(waveforms))
    bands = spectra.bands(spectrum, rows * semitones)
    return spectra.patches(spectra.stretched(bands, rows * (spectrum.shape[2] / 2), rows * tempo))


def batch_of(sources: torch.Tensor, rests: torch.Tensor | None = None) -> Batch:
    stems = torch.full((len(sources),), rests is not None)
    return Batch(sources, torch.zeros_like(sources) if rests is None else rests, stems, torch.arange(len(sources)))


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    a, b = (x.flatten(1) - x.flatten(1).mean(1, keepdim=True) for x in (a, b))
    return torch.cosine_similarity(a, b).min().item()


@pytest.mark.parametrize("semitones,tempo", [(3.0, 1.0), (-2.0, 1.0), (0.0, 1.3), (2.0, 0.8)])
def test_pitched_and_stretched_like_real_audio(spectra: Spectra, semitones: float, tempo: float) -> None:
    plain = audio(spectra)
    made = patches(spectra, plain, semitones, tempo)
    real = patches(spectra, audio(spectra, semitones=semitones, tempo=tempo))
    assert cosine(made, real) > 0.85
    assert cosine(made, real) > cosine(patches(spectra, plain), real)


def test_an_untouched_window_is_the_models_own() -> None:
    for name in ("gnn-paper", "linear"):
        model = Fingerprinter(load(name))
        spectra = spectra_of(model.front_end, semitones=1)
        waveforms = audio(spectra)
        first = spectra.stft(waveforms).shape[2] / 2 - model.config.model.front_end.window_frames / 2
        windows = torch.stack([model.front_end.windows(f)[math.floor(first)] for f in model.features(waveforms)])
        spectrum = spectra.stft(waveforms)
        centre = torch.full((4,), float(math.floor(spectrum.shape[2] / 2)))
        made = spectra.patches(spectra.stretched(spectra.bands(spectrum), centre, torch.ones(4)))
        assert torch.allclose(made, model.front_end.patches(windows), atol=1e-3)


def test_without_augmentation_both_sides_are_the_same(spectra: Spectra) -> None:
    training = TrainingConfig(augmentation=replace(STILL, background_db=(-200.0, -200.0)))
    pairs = make_pairs(batch_of(audio(spectra)), spectra, training, difficulty=1.0)
    assert cosine(pairs.references, pairs.queries) > 0.99


@pytest.mark.parametrize("objective", ["paper", "mixes"])
@pytest.mark.parametrize("stems", [True, False])
def test_queries_hold_their_references(spectra: Spectra, objective: Literal["paper", "mixes"], stems: bool) -> None:
    background_db = 0.0 if objective == "mixes" else -6.0
    training = TrainingConfig(
        objective=objective, augmentation=replace(STILL, background_db=(background_db, background_db))
    )
    sources = audio(spectra)
    rests = torch.stack([notes(sources.shape[1], seed=10 + seed) for seed in range(4)]) if stems else None
    pairs = make_pairs(batch_of(sources, rests), spectra, training, difficulty=1.0)
    flat_q, flat_r = (x.flatten(1) - x.flatten(1).mean(1, keepdim=True) for x in (pairs.queries, pairs.references))
    alike = torch.nn.functional.normalize(flat_q, dim=1) @ torch.nn.functional.normalize(flat_r, dim=1).T
    assert (alike.argmax(1) == torch.arange(4)).all() or objective == "mixes"
    if objective == "mixes":
        wanted = torch.eye(4) + torch.eye(4).roll(-1, 1)  # row b holds b and b - 1
        assert ((alike.topk(2).indices.sort().values) == wanted.topk(2).indices.sort().values).all()
        assert pairs.second is not None and pairs.second.all()


def test_curriculum_starts_almost_at_nothing() -> None:
    easy = augment.draw(AugmentationConfig(together=True), 1000, 0.05, torch.device("cpu"))
    hard = augment.draw(AugmentationConfig(together=True), 1000, 1.0, torch.device("cpu"))
    assert easy.semitones.abs().max() < 0.16 < 2.5 < hard.semitones.abs().max() <= 3
    assert easy.ratios.log().abs().max() < 0.03 and hard.ratios.min() < 0.75 and hard.ratios.max() > 1.4
    assert easy.background_db.max() < -27 and hard.background_db.min() > -12.01


def test_the_paper_does_pitch_or_tempo_but_not_both() -> None:
    drawn = augment.draw(AugmentationConfig(), 500, 1.0, torch.device("cpu"))
    assert not ((drawn.semitones != 0) & (drawn.ratios != 1)).any()
    assert (drawn.semitones != 0).any() and (drawn.ratios != 1).any()


def test_effects_do_what_they_say() -> None:
    bands = torch.rand(3, 8, 50) + 0.1
    bands[:, :, 25:] = 1e-9
    tail = augment.reverberated(bands, torch.tensor([0.0, 0.3, 0.6]), 0.032)
    assert torch.allclose(tail[0], bands[0], atol=1e-6) and (tail[2, :, 26] > tail[1, :, 26]).all()
    assert (tail[1, :, 26] > 1e-4).all()
    flat = augment.compressed(bands, torch.tensor([0.0, 0.5, 1.0]))
    span = [10 * (x.sum(0).max() / x.sum(0).min()).log10() for x in flat]
    assert span[0] > span[1] > span[2]
    assert (augment.lossy(bands, torch.full((3,), 1.0)) == 0).any()
    gains = augment.equaliser(AugmentationConfig(high_cut_hz=1000), 200, 1.0, torch.tensor([100.0, 900.0, 6000.0]))
    assert gains[:, 0].min() > 0.1 and gains[:, 2].min() < 1e-4


def test_only_a_tracks_own_repetitions_are_ambiguous() -> None:
    torch.manual_seed(0)
    a, b = torch.rand(2, 8, 8)
    references = torch.stack([a, a + 0.01 * b, b, a])
    found = ambiguous_rows(references, torch.tensor([0, 0, 0, 1]))
    assert found[0, 1] and found[1, 0] and found.sum() == 2
