"""Synthetic instruments, which render notes and drum hits as mono float32 waveforms [n]. Drawn once per track.

Simple and fast: additive, FM and plucked-string synthesis (Karplus and Strong 1983).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from asid_core.synthetic.effects import Wave

RATE_HZ = 22_050

Voice = Callable[[float, float], Wave]
"""(frequency_hz, duration_s) -> waveform [n] with a peak of about 1."""


def draw_voice(kind: str, rng: np.random.Generator) -> Voice:
    """A random instrument of `kind`: 'pluck', 'bell', 'lead', 'pad' or 'bass'. Raises KeyError for another kind."""
    return {"pluck": _pluck, "bell": _bell, "lead": _lead, "pad": _pad, "bass": _bass}[kind](rng)


def _times(duration_s: float) -> np.ndarray:
    return np.arange(max(1, int(duration_s * RATE_HZ))) / RATE_HZ


def _envelope(times: np.ndarray, attack_s: float, decay_s: float, release_s: float = 0.02) -> np.ndarray:
    """Linear attack, exponential decay (1/e after `decay_s`), linear release at the end."""
    rise = np.minimum(times / attack_s, 1.0)
    fall = np.clip((times[-1] - times) / release_s, 0, 1) if len(times) > 1 else np.ones(1)
    return rise * np.exp(-times / decay_s) * fall


def _harmonics(frequency_hz: float, times: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Sum of the harmonics below the Nyquist frequency, with a peak of about 1."""
    wave = np.zeros_like(times)
    for number, level in enumerate(levels, 1):
        if number * frequency_hz < 0.45 * RATE_HZ:
            wave += level * np.sin(2 * np.pi * number * frequency_hz * times)
    return wave / np.sum(np.abs(levels))


def _pluck(rng: np.random.Generator) -> Voice:
    brightness, loss = rng.uniform(0.3, 0.9), rng.uniform(0.985, 0.998)
    noise = rng.uniform(-1, 1, RATE_HZ // 20)

    def play(frequency_hz: float, duration_s: float) -> Wave:
        times = _times(duration_s)
        period = max(2, round(RATE_HZ / frequency_hz))
        string = np.resize(noise, period)
        string = string - string.mean()  # a constant would never decay in the loop
        string = brightness * string + (1 - brightness) * np.roll(string, 1)
        rounds = []
        for _ in range(len(times) // period + 1):
            rounds.append(string)
            string = loss * 0.5 * (string + np.roll(string, 1))
        wave = np.concatenate(rounds)[: len(times)]
        return (wave * _envelope(times, 0.002, 2.0)).astype(np.float32)

    return play


def _bell(rng: np.random.Generator) -> Voice:
    ratio = float(rng.choice([1.41, 2.0, 2.76, 3.0, 3.5, 4.2])) * rng.uniform(0.98, 1.02)
    depth, decay = rng.uniform(1.5, 5.0), rng.uniform(0.3, 1.2)

    def play(frequency_hz: float, duration_s: float) -> Wave:
        times = _times(duration_s)
        index = depth * np.exp(-times / (0.5 * decay))
        wave = np.sin(2 * np.pi * frequency_hz * times + index * np.sin(2 * np.pi * ratio * frequency_hz * times))
        return (wave * _envelope(times, 0.003, decay)).astype(np.float32)

    return play


def _lead(rng: np.random.Generator) -> Voice:
    levels = rng.uniform(0.1, 1, 9) / np.arange(1, 10) ** rng.uniform(0.4, 1.4)
    rate, depth = rng.uniform(4, 7), rng.uniform(0.001, 0.006)

    def play(frequency_hz: float, duration_s: float) -> Wave:
        times = _times(duration_s)
        bent = times + depth / (2 * np.pi * rate) * np.sin(2 * np.pi * rate * times)
        return (_harmonics(frequency_hz, bent, levels) * _envelope(times, 0.015, 1.5)).astype(np.float32)

    return play


def _pad(rng: np.random.Generator) -> Voice:
    levels = 1 / np.arange(1, 8) ** rng.uniform(0.7, 1.6)
    cents, attack = rng.uniform(4, 14), rng.uniform(0.08, 0.3)

    def play(frequency_hz: float, duration_s: float) -> Wave:
        times = _times(duration_s)
        wave = sum(_harmonics(frequency_hz * 2 ** (c / 1200), times + 0.1 * c, levels) for c in (-cents, 0.0, cents))
        return (wave / 3 * _envelope(times, attack, 4.0, 0.15)).astype(np.float32)

    return play


def _bass(rng: np.random.Generator) -> Voice:
    levels = np.array([1.0, rng.uniform(0.1, 0.8), rng.uniform(0.05, 0.5), rng.uniform(0, 0.3), rng.uniform(0, 0.2)])
    decay = rng.uniform(0.25, 1.0)

    def play(frequency_hz: float, duration_s: float) -> Wave:
        times = _times(duration_s)
        return (_harmonics(frequency_hz, times, levels) * _envelope(times, 0.006, decay)).astype(np.float32)

    return play


def draw_kit(rng: np.random.Generator) -> dict[str, Wave]:
    """A random drum kit: 'kick', 'snare', 'hat' and 'open' (open hat)."""
    return {
        "kick": _kick(rng),
        "snare": _noise_hit(rng, rng.uniform(0.12, 0.22), tone_hz=rng.uniform(160, 240), tone=0.5),
        "hat": 0.5 * _noise_hit(rng, rng.uniform(0.03, 0.06), high=True),
        "open": 0.5 * _noise_hit(rng, rng.uniform(0.15, 0.3), high=True),
    }


def _kick(rng: np.random.Generator) -> Wave:
    times = _times(0.35)
    start, end, fall = rng.uniform(110, 220), rng.uniform(42, 62), rng.uniform(0.02, 0.05)
    phase = end * times + (start - end) * fall * (1 - np.exp(-times / fall))
    return (np.sin(2 * np.pi * phase) * _envelope(times, 0.001, rng.uniform(0.09, 0.16))).astype(np.float32)


def _noise_hit(
    rng: np.random.Generator, decay_s: float, *, tone_hz: float = 0.0, tone: float = 0.0, high: bool = False
) -> Wave:
    times = _times(4 * decay_s)
    noise = rng.uniform(-1, 1, len(times))
    if high:
        noise = np.diff(noise, prepend=0.0)  # a slope of +6 dB per octave
    wave = (1 - tone) * noise + tone * np.sin(2 * np.pi * tone_hz * times)
    return (wave * _envelope(times, 0.001, decay_s)).astype(np.float32)
