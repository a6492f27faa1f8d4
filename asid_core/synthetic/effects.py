"""Effects that producers apply to samples, on mono float32 waveforms [n]: tempo, pitch, filters, reverb, compression.

They use a phase vocoder and a resampler, unlike training, which transforms spectrograms, so that results do not depend
on artefacts of training. All functions are pure; the caller draws random values.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import torch
import torchaudio.functional as F

from asid_core.signal.decibels import level_db

Wave = npt.NDArray[np.float32]

VOCODER_FFT = 2048  # 93 ms at 22.05 kHz
VOCODER_HOPS = 8  # in one transform; with four, drum hits smear audibly


def stretch_and_shift(wave: Wave, tempo_ratio: float, semitones: float, fft: int = VOCODER_FFT) -> Wave:
    """Play `wave` [n] `tempo_ratio` times as fast and `semitones` higher, independently.

    Returns about n / tempo_ratio samples. Uses a phase vocoder, then resampling by a simple fraction, which is within
    0.3 cents of the wanted pitch. A short `fft` keeps drum hits in place, a long one keeps chords clean. Raises
    ValueError for an empty wave or a tempo_ratio that is not above 0.
    """
    if len(wave) == 0 or tempo_ratio <= 0:
        raise ValueError(f"need samples and a tempo_ratio above 0, not {len(wave)} and {tempo_ratio}")
    pitch = Fraction(2.0 ** (semitones / 12)).limit_denominator(60)
    rate = tempo_ratio / float(pitch)
    length = round(len(wave) / tempo_ratio)
    result = torch.from_numpy(wave)
    if abs(rate - 1) > 1e-6:
        result = _vocode(result, rate, fft)
    if pitch != 1:
        result = F.resample(result, pitch.numerator, pitch.denominator)
    fitted = np.zeros(length, np.float32)
    kept = result[:length].numpy()
    fitted[: len(kept)] = kept
    return fitted


def _vocode(wave: torch.Tensor, rate: float, fft: int) -> torch.Tensor:
    """Phase vocoder: [n] -> [about n / rate], without changing the pitch."""
    window, hop = torch.hann_window(fft), fft // VOCODER_HOPS
    padded = torch.nn.functional.pad(wave, (0, fft))  # otherwise its last frames are lost
    spectrum = torch.stft(padded, fft, hop, window=window, return_complex=True)
    advance = torch.linspace(0, math.pi * hop, spectrum.shape[0])[:, None]
    stretched = F.phase_vocoder(spectrum, rate, advance)
    return torch.istft(stretched, fft, hop, window=window)


def filtered(wave: Wave, kind: str, frequency_hz: float, gain_db: float, rate_hz: int) -> Wave:
    """Filter a waveform [n]. kind: 'low_pass', 'high_pass' (24 dB per octave), 'band_pass', 'bass' or 'treble' shelf.

    gain_db: only for shelves. Raises ValueError for another kind.
    """
    x = torch.from_numpy(wave)
    if kind == "low_pass":
        y = F.lowpass_biquad(F.lowpass_biquad(x, rate_hz, frequency_hz), rate_hz, frequency_hz)
    elif kind == "high_pass":
        y = F.highpass_biquad(F.highpass_biquad(x, rate_hz, frequency_hz), rate_hz, frequency_hz)
    elif kind == "band_pass":
        y = F.bandpass_biquad(x, rate_hz, frequency_hz, Q=0.5)
    elif kind == "bass":
        y = F.bass_biquad(x, rate_hz, gain_db, frequency_hz)
    elif kind == "treble":
        y = F.treble_biquad(x, rate_hz, gain_db, frequency_hz)
    else:
        raise ValueError(f"unknown filter {kind!r}; use low_pass, high_pass, band_pass, bass or treble")
    return y.numpy()


def reverberated(wave: Wave, decay_s: float, wet: float, rate_hz: int, rng: np.random.Generator) -> Wave:
    """Add reverb to a waveform [n]: decaying noise with RT60 `decay_s`, at `wet` (0..1) times the dry level."""
    times = np.arange(int(decay_s * rate_hz)) / rate_hz
    response = rng.standard_normal(len(times)) * 10.0 ** (-3 * times / decay_s)
    response /= np.sqrt(np.sum(response**2))
    room = F.fftconvolve(torch.from_numpy(wave), torch.from_numpy(response.astype(np.float32)))[: len(wave)]
    return wave + np.float32(wet) * room.numpy()


def compressed(wave: Wave, threshold_db: float, ratio: float, rate_hz: int, knee_db: float = 6.0) -> Wave:
    """Soft-knee compression of a waveform [n] by its 20 ms power envelope. threshold_db: relative to its RMS."""
    width = int(0.02 * rate_hz) | 1
    power = torch.from_numpy(wave)[None, None] ** 2
    envelope = torch.nn.functional.avg_pool1d(power, width, 1, width // 2, count_include_pad=False)[0, 0].numpy()
    over = 10 * np.log10(envelope + 1e-10) - level_db(wave) - threshold_db
    bent = np.where(over > knee_db / 2, over, (over + knee_db / 2) ** 2 / (2 * knee_db))
    reduction = np.where(over < -knee_db / 2, 0.0, bent) * (1 / ratio - 1)
    return (wave * 10.0 ** (reduction / 20)).astype(np.float32)


def faded(wave: Wave, rate_hz: int, fade_s: float = 0.005) -> Wave:
    """Apply short linear fades at both ends, so that a clip does not click."""
    n = min(int(fade_s * rate_hz), len(wave) // 2)
    ramp = np.ones(len(wave), np.float32)
    ramp[:n] = np.linspace(0, 1, n, endpoint=False)
    ramp[len(wave) - n :] = ramp[:n][::-1]
    return wave * ramp
