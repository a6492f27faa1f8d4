"""Each effect changes nothing at amount 0, and does what its name says at larger amounts."""

import pytest
import torch

from asid_core.config import TrainingConfig, load
from asid_core.learning import degradations
from asid_core.learning.front_end_spectra import spectra_of
from asid_core.learning.pairs import Batch, make_pairs
from asid_core.model.fingerprinter import Fingerprinter

FRAME_S = 0.032
BAND_HZ = 100 * 2 ** (torch.arange(40) / 8)


def powers(rows: int = 2) -> torch.Tensor:
    return torch.rand(rows, 40, 100, generator=torch.Generator().manual_seed(0)) + 0.01


def test_no_amount_changes_nothing() -> None:
    bands, zero = powers(), torch.zeros(2)
    off = zero.bool()
    for after in (
        degradations.one_part(bands, off, zero, FRAME_S),
        degradations.driven(bands, zero, BAND_HZ),
        degradations.crushed(bands, zero),
        degradations.chorused(bands, zero),
        degradations.pumped(bands, zero, zero + 0.5, zero, FRAME_S),
        degradations.cut_inside(bands, off, 0),
    ):
        assert torch.equal(after, bands)


def test_a_note_and_a_hit_are_told_apart() -> None:
    bands = torch.full((2, 40, 100), 1e-6)
    bands[:, 20] = 1.0  # a note that is held
    bands[:, :, 50] = 1.0  # a drum
    after = degradations.one_part(bands, torch.tensor([True, False]), torch.ones(2), FRAME_S)
    drums, melody = after
    assert drums[5, 50] > 0.9 and drums[20, 10] < 0.1
    assert melody[5, 50] < 0.1 and melody[20, 10] > 0.9


def test_distortion_adds_what_lies_an_octave_above() -> None:
    bands = torch.zeros(1, 40, 10)
    bands[:, 8] = 1.0
    after = degradations.driven(bands, torch.ones(1), BAND_HZ)[0, :, 0]
    assert after[8] == 1 and after[15:18].max() > 0.4 and after[:8].max() == 0


def test_pumping_dips_at_every_beat() -> None:
    after = degradations.pumped(
        torch.ones(1, 1, 100), torch.tensor([10.0]), torch.tensor([0.64]), torch.zeros(1), 0.032
    )
    assert after[0, 0, 0] == pytest.approx(0.1) and after[0, 0, 20] == pytest.approx(0.1, rel=0.01)
    assert after[0, 0, 19] > 0.8


def test_a_cut_leaves_enough_of_the_window() -> None:
    after = degradations.cut_inside(torch.ones(200, 1, 100), torch.ones(200, dtype=torch.bool), 10)
    left = after[:, 0, 10:90].mean(1)
    assert left.min() > degradations.MIN_KEPT_SHARE - 0.02 and left.max() > 0.95 and left.mean() < 0.8


def test_noise_does_not_sound_where_nothing_does() -> None:
    bands = powers()
    bands[:, :, 50:] = 0
    after = degradations.crushed(bands, torch.full((2,), 0.1))
    assert (after[:, :, 50:] == 0).all() and (after[:, :, :50] > bands[:, :, :50]).all()


@pytest.mark.parametrize("name", ["gnn-paper", "linear"])
def test_pairs_with_every_effect_are_finite(name: str) -> None:
    settings = ["one_part=0.5", "cut_inside=0.5", "drive=1", "noise=0.1", "chorus=1", "pumping_db=10", "drift=0.03"]
    config = load(name, [f"training.augmentation.{setting}" for setting in [*settings, "reverb_s=3"]])
    training: TrainingConfig = config.training
    spectra = spectra_of(Fingerprinter(config).front_end, training.augmentation.semitones)
    audio = 0.1 * torch.randn(8, spectra.cut_samples(1.6, 0.3))
    audio[0] = 0
    batch = Batch(audio, torch.zeros_like(audio), torch.zeros(8, dtype=torch.bool), torch.arange(8))
    pairs = make_pairs(batch, spectra, training, 1.0)
    assert torch.isfinite(pairs.queries).all() and torch.isfinite(pairs.references).all()
