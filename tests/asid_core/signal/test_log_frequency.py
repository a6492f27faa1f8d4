"""The whitened log-frequency front end: a pitch shift moves bins, loudness hardly matters, silence is 0."""

import numpy as np
import pytest
import torch

from asid_core.config import SAMPLE_RATE_HZ, LogFrequencyConfig
from asid_core.signal.log_frequency import LogFrequencyFrontEnd, triangular_filters
from asid_core.signal.probing import shifted

CONFIG = LogFrequencyConfig()
FRONT_END = LogFrequencyFrontEnd(CONFIG)


def chords(semitones: float = 0.0, seconds: float = 3.0) -> torch.Tensor:
    """Notes of five partials with an onset every 0.3 s: [1, n]."""
    t = np.arange(round(0.3 * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    rng = np.random.default_rng(0)
    parts = []
    for _ in range(round(seconds / 0.3)):
        hertz = 220 * 2 ** ((rng.integers(0, 24) + semitones) / 12)
        parts.append(sum(np.sin(2 * np.pi * hertz * k * t) / k for k in range(1, 6)) * np.exp(-5 * t))
    return torch.from_numpy(0.2 * np.concatenate(parts)).float()[None]


def test_there_is_a_frame_a_hop_and_nothing_below_zero() -> None:
    found = FRONT_END(chords())
    assert found.shape == (1, CONFIG.bins, 1 + 48_000 // CONFIG.hop_samples)
    assert found.min() == 0 and found.max() > 1


@pytest.mark.parametrize("bin_number", [30, 77, 120])
def test_a_tone_is_loudest_in_its_own_bin(bin_number: int) -> None:
    hertz = CONFIG.f_min_hz * 2 ** (bin_number / CONFIG.bins_per_octave)
    tone = 0.1 * torch.sin(2 * torch.pi * hertz * torch.arange(32_000) / SAMPLE_RATE_HZ)
    found = FRONT_END(tone[None])[0]
    assert int(found[:, 20:30].mean(1).argmax()) == bin_number


@pytest.mark.parametrize("semitones", [-3.0, -1.0, 2.0, 4.0])
def test_a_pitch_shift_is_a_shift_of_bins(semitones: float) -> None:
    plain, moved = FRONT_END(chords()), FRONT_END(chords(semitones))

    def likeness(a: torch.Tensor, b: torch.Tensor) -> float:
        return float(torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0))

    assert likeness(shifted(moved, semitones, CONFIG), plain) > 0.85
    assert likeness(moved, plain) < 0.7


def test_silence_is_zero_and_loudness_changes_little() -> None:
    assert FRONT_END(torch.zeros(1, 16_000)).abs().max() == 0
    noise = 0.3 * torch.randn(1, 32_000, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(FRONT_END(noise), FRONT_END(0.3 * noise), atol=0.02, rtol=0)


def test_every_filter_catches_something_and_sums_to_one() -> None:
    filters = triangular_filters(CONFIG)
    assert filters.shape == (CONFIG.bins, CONFIG.n_fft // 2 + 1)
    torch.testing.assert_close(filters.sum(1), torch.ones(CONFIG.bins))
