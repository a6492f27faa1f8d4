"""Effects of the wild kinds, on mono float32 waveforms [n]: tempo and pitch by Rubber Band, others by pedalboard."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import torch
import torchaudio.functional as F
from scipy.ndimage import median_filter

from asid_core.synthetic.effects import Wave

STFT_SIZE, STFT_HOP = 2048, 512
MEDIAN_CELLS = 31  # frames and bins; Fitzgerald 2010 uses 17 to 31


class NotInstalled(RuntimeError):
    """A program or package that making a benchmark needs is missing. The message says how to install it."""


def _pedalboard() -> Any:
    try:
        import pedalboard
    except ImportError as error:
        raise NotInstalled("the wild kinds need pedalboard: pip install 'asid[bench]'") from error
    return pedalboard


def stretched(wave: Wave, rate_hz: int, tempo_ratio: float, semitones: float) -> Wave:
    """Play `wave` [n] `tempo_ratio` times as fast and `semitones` higher; returns about n / tempo_ratio samples.

    Formants move with the pitch, as in samplers. Raises NotInstalled if pedalboard is missing.
    """
    stretch = _pedalboard().time_stretch
    result = stretch(wave, rate_hz, tempo_ratio, semitones, preserve_formants=False)
    return _of_length(result[0], round(len(wave) / tempo_ratio))


def resampled(wave: Wave, rate: float) -> Wave:
    """Play `wave` [n] at `rate` times its speed, changing pitch and tempo together, as a turntable does."""
    ratio = Fraction(rate).limit_denominator(200)
    result = F.resample(torch.from_numpy(wave), ratio.numerator, ratio.denominator).numpy()
    return _of_length(result, round(len(wave) / rate))


def wandering(wave: Wave, rate_hz: int, depth: float, period_s: float, phase: float) -> Wave:
    """Play all of `wave` [n] at speed 1 + depth * sin(2 pi t / period_s + phase), by linear interpolation.

    `len(wave) / len(result)` is the mean speed.
    """
    times = np.arange(int(len(wave) / (1 - depth))) / rate_hz
    omega = 2 * math.pi / period_s
    places = (times + depth / omega * (math.cos(phase) - np.cos(omega * times + phase))) * rate_hz
    inside = places[places <= len(wave) - 1]
    return np.interp(inside, np.arange(len(wave)), wave).astype(np.float32)


def harmonic_percussive(wave: Wave) -> tuple[Wave, Wave]:
    """Median-filtering separation (Fitzgerald 2010): (harmonic [n], percussive [n]) by soft masks."""
    window = torch.hann_window(STFT_SIZE)
    spectrum = torch.stft(torch.from_numpy(wave), STFT_SIZE, STFT_HOP, window=window, return_complex=True)
    magnitude = spectrum.abs().numpy()
    along_time = median_filter(magnitude, (1, MEDIAN_CELLS)) ** 2
    along_frequency = median_filter(magnitude, (MEDIAN_CELLS, 1)) ** 2
    mask = torch.from_numpy(along_time / (along_time + along_frequency + 1e-12))
    harmonic = torch.istft(spectrum * mask, STFT_SIZE, STFT_HOP, window=window, length=len(wave)).numpy()
    return harmonic, wave - harmonic


def degraded(wave: Wave, rate_hz: int, rng: np.random.Generator) -> Wave:
    """Apply distortion or bit crushing, band limits, chorus, reverb and pumping to a waveform [n]; same length.

    Raises NotInstalled if pedalboard is missing.
    """
    board = _pedalboard()
    drive = (
        board.Distortion(float(rng.uniform(8, 18))) if rng.random() < 0.5 else board.Bitcrush(float(rng.uniform(5, 8)))
    )
    chain = board.Pedalboard(
        [
            drive,
            board.HighpassFilter(float(rng.uniform(120, 300))),
            board.LowpassFilter(float(rng.uniform(2500, 5000))),
            board.Chorus(rate_hz=float(rng.uniform(0.5, 1.5)), depth=0.15, mix=0.3),
            board.Reverb(room_size=float(rng.uniform(0.2, 0.6)), wet_level=float(rng.uniform(0.1, 0.3)), dry_level=0.8),
        ]
    )
    peak = max(float(np.abs(wave).max()), 1e-6)
    result = chain((wave / peak).astype(np.float32), rate_hz)
    beats_per_s, depth = float(rng.uniform(1.5, 2.5)), float(rng.uniform(0.3, 0.7))
    phase = np.arange(len(wave)) / rate_hz * beats_per_s % 1.0
    return (result * (1 - depth * np.exp(-6 * phase)) * peak).astype(np.float32)


def _of_length(wave: Wave, length: int) -> Wave:
    fitted = np.zeros(length, np.float32)
    kept = wave[:length]
    fitted[: len(kept)] = kept
    return fitted
