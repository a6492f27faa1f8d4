"""Coherence: the same waveform is recognised under filters, other music and an error of speed; equal notes are not."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from asid_core.config import COHERENT, INCOHERENT
from asid_core.matching.align import Candidate
from asid_core.matching.coherence import LAG_S, PASSAGE_S, RATE_HZ, coherence, is_unchanged, part, with_coherence
from asid_core.matching.span import Span
from asid_core.matching.verify import Verified

LENGTH, LAG = round(PASSAGE_S * RATE_HZ), round(LAG_S * RATE_HZ)
SEEDS = st.integers(0, 2**16)
ENDS = 100  # a filter and an error of speed move a passage by less
NOTES_HZ = 82.4 * 2.0 ** (np.arange(36) / 12)


def played(seed: int, seconds: float, notes_seed: int = 0) -> Tensor:
    """Three plucked strings six times a second, in some noise: `notes_seed` is the score, `seed` the instrument."""
    notes, instrument = np.random.default_rng(notes_seed), np.random.default_rng(seed)
    length = round(seconds * RATE_HZ)
    wave = 0.01 * instrument.standard_normal(length)
    for beat in range(0, length - RATE_HZ // 10, RATE_HZ // 6):
        start = beat + int(instrument.integers(RATE_HZ // 100))  # none begins a note at once
        time_s = np.arange(length - start) / RATE_HZ
        shape = np.exp(-5 * time_s) * (1 - np.exp(-time_s / 0.01))
        for pitch_hz in notes.choice(NOTES_HZ, 3) * 2 ** (instrument.normal(0, 0.1, 3) / 12):  # nor in tune
            for overtone in range(1, 13):
                phase, strength = instrument.uniform(0, 2 * np.pi), instrument.uniform(0.2, 1) / overtone
                wave[start:] += strength * np.sin(2 * np.pi * overtone * pitch_hz * time_s + phase) * shape
    return torch.from_numpy(wave).float()


def filtered(wave: Tensor, seed: int) -> Tensor:
    taps = torch.randn(1, 1, 16, generator=torch.Generator().manual_seed(seed)) * torch.exp(-torch.arange(16) / 3)
    return torch.nn.functional.conv1d(wave[None, None], taps, padding=8)[0, 0, : len(wave)]


def faster(wave: Tensor, rate: float) -> Tensor:
    middle = (len(wave) - 1) / 2
    at = (np.arange(len(wave)) - middle) * rate + middle
    return torch.from_numpy(np.interp(at, np.arange(len(wave)), wave.numpy())).float()


@settings(deadline=None, max_examples=25)
@given(seed=SEEDS, rate=st.floats(0.992, 1.008), lag=st.integers(ENDS - LAG, LAG - ENDS), background=st.floats(0, 0.8))
def test_the_same_waveform_is_coherent(seed: int, rate: float, lag: int, background: float) -> None:
    around = played(seed, PASSAGE_S + 4 * LAG_S, seed)
    other = played(seed + 1, PASSAGE_S, seed + 1)
    sample = filtered(around, seed)[2 * LAG :][:LENGTH]
    mixed = faster(sample, rate) / sample.std() + background * other / other.std()
    found = coherence(mixed, around[LAG + lag :][: LENGTH + 2 * LAG])
    assert COHERENT < found <= 1.001


@settings(deadline=None, max_examples=25)
@given(seed=SEEDS, cut_hz=st.sampled_from([500, 700, 1000]))
def test_a_sample_without_treble_is_coherent_under_other_music(seed: int, cut_hz: int) -> None:
    around, other = played(seed, PASSAGE_S + 2 * LAG_S, seed), played(seed + 1, PASSAGE_S, seed + 1)
    spectrum = torch.fft.rfft(around)
    spectrum[torch.fft.rfftfreq(len(around), 1 / RATE_HZ) > cut_hz] = 0
    sample = torch.fft.irfft(spectrum, len(around))[LAG:][:LENGTH]
    assert coherence(sample / sample.std() + other / other.std(), around) > INCOHERENT


def test_the_same_notes_of_another_instrument_are_not_coherent() -> None:
    found = []
    for seed in range(20):
        passage, around = played(seed, PASSAGE_S + LAG_S, seed)[LAG:], played(seed + 50, PASSAGE_S + 2 * LAG_S, seed)
        found.append(coherence(passage, around))
    assert np.median(found) < (COHERENT + INCOHERENT) / 2 and max(found) < COHERENT


@pytest.mark.parametrize("silent", [0, 1])
def test_silence_is_not_coherent_with_anything(silent: int) -> None:
    waves = [played(0, PASSAGE_S), played(0, PASSAGE_S + 2 * LAG_S)]
    waves[silent] = torch.zeros_like(waves[silent])
    assert coherence(*waves) == 0.0


@given(start_s=st.floats(-3, 3), length_s=st.floats(0, 3))
def test_a_part_is_the_waveform_padded_with_zeros(start_s: float, length_s: float) -> None:
    wave = torch.arange(1, RATE_HZ + 1)
    padded = torch.cat([torch.zeros(4 * RATE_HZ), wave, torch.zeros(8 * RATE_HZ)])
    start, stop = round(start_s * RATE_HZ), round((start_s + length_s) * RATE_HZ)
    assert part(wave, start_s, start_s + length_s).tolist() == padded[4 * RATE_HZ + start : 4 * RATE_HZ + stop].tolist()


def place(start_s: float, semitones: float = 0.0, ratio: float = 1.0, is_match: bool = True) -> Verified:
    span = Span(start_s, start_s + 3.0, start_s, ratio)
    candidate = Candidate(0, semitones, ratio, start_s + 1, start_s + 1, span, 5.0, 9.0, 0.5, np.zeros((1, 2), int))
    return Verified(candidate, 0.5, 0.2, semitones, span, is_match)


def test_all_unchanged_places_of_a_pair_get_the_best_coherence() -> None:
    """The first place is of another recording; where one place has the same waveform, the pair shares a recording."""
    wave, other = played(1, 20.0), played(2, 20.0)
    query = torch.cat([other[: 8 * RATE_HZ], wave[8 * RATE_HZ :]])
    places = [place(2.0), place(10.0), place(15.0, semitones=1.0), place(3.0, ratio=1.05)]
    assert [is_unchanged(one) for one in places] == [True, True, False, False]
    reference = lambda start_s, end_s: part(wave, start_s, end_s)  # noqa: E731
    found = with_coherence(places, lambda start_s, end_s: part(query, start_s, end_s), reference)
    assert [one.coherence is None for one in found] == [False, False, True, True]
    assert found[0].coherence == found[1].coherence and (found[0].coherence or 0) > COHERENT
    apart = with_coherence(places[:1], lambda start_s, end_s: part(query, start_s, end_s), reference)
    assert (apart[0].coherence or 0) < COHERENT


def test_without_a_match_no_waveform_is_read() -> None:
    def never(start_s: float, end_s: float) -> Tensor:
        raise AssertionError("read")

    assert [one.coherence for one in with_coherence([place(2.0, is_match=False)], never, never)] == [None]
