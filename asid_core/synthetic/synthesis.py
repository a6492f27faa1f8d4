"""Makes new music with a known sample in it, and the exact truth about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from asid_core.evaluation.truth import Occurrence
from asid_core.signal.decibels import level_db
from asid_core.synthetic import effects
from asid_core.synthetic.effects import Wave

TIERS = ("exact", "mild", "hard", "none")


@dataclass(frozen=True)
class Recipe:
    """How one query is made. background_db: RMS of the background relative to the sample; None: no background."""

    tier: str
    cut_s: float
    repeats: int
    tempo_ratio: float
    pitch_semitones: float
    background_db: float | None
    effects: tuple[str, ...]


@dataclass(frozen=True)
class Made:
    """A query: its waveform [n], the occurrences of the sample, and the effects with their random values."""

    wave: Wave
    occurrences: tuple[Occurrence, ...]
    effects: dict[str, dict[str, Any]]


def draw_recipe(tier: str, rng: np.random.Generator) -> Recipe:
    """Draw a recipe for a tier (see make_bench for the ranges). Raises ValueError for an unknown tier."""
    cut_s = round(float(rng.uniform(4, 9)), 3)
    if tier == "exact":
        background = None if rng.random() < 0.5 else -12.0
        return Recipe(tier, cut_s, int(rng.integers(1, 4)), 1.0, 0.0, background, ())
    if tier == "mild":
        tempo, pitch = (_tempo(rng), 0.0) if rng.random() < 0.5 else (1.0, _pitch(rng))
        return Recipe(tier, cut_s, int(rng.integers(1, 3)), tempo, pitch, -12.0, ())
    if tier == "hard":
        names = [n for n in ("filter", "reverb", "compression") if rng.random() < 0.5]
        background = float(rng.choice([0.0, -6.0]))
        return Recipe(tier, cut_s, int(rng.integers(2, 5)), _tempo(rng), _pitch(rng), background, tuple(names))
    raise ValueError(f"unknown tier {tier!r}; use exact, mild or hard")


def _tempo(rng: np.random.Generator) -> float:
    """A tempo ratio in 0.78..1.3 that differs from 1 by at least 3 %."""
    while True:
        ratio = float(np.exp(rng.uniform(np.log(0.78), np.log(1.3))))
        if abs(ratio - 1) >= 0.03:
            return round(ratio, 4)


def _pitch(rng: np.random.Generator) -> float:
    """A pitch shift in -3..3 semitones, at least a quarter from 0; half of the time a whole number, as in samplers."""
    while True:
        semitones = float(rng.integers(-3, 4)) if rng.random() < 0.5 else round(float(rng.uniform(-3, 3)), 2)
        if abs(semitones) >= 0.25:
            return semitones


def find_cut(track: Wave, length: int, rng: np.random.Generator, rate_hz: int = 22_050, tries: int = 20) -> int | None:
    """A random start of `length` samples that are at most 10 dB softer than the track, without a silent second.

    None if the track [n] is too short or no such place was found.
    """
    if len(track) < length:
        return None
    floor = level_db(track) - 10
    for _ in range(tries):
        start = int(rng.integers(0, len(track) - length + 1))
        piece = track[start : start + length]
        seconds = [level_db(part) for part in np.array_split(piece, max(1, length // rate_hz))]
        if level_db(piece) > floor and min(seconds) > floor - 20:
            return start
    return None


def transform(cut: Wave, recipe: Recipe, rate_hz: int, rng: np.random.Generator) -> tuple[Wave, dict[str, Any]]:
    """One repeat of the changed sample, [n] -> [n / tempo_ratio], and the random values of each effect."""
    wave, drawn = cut, {}
    if recipe.tempo_ratio != 1 or recipe.pitch_semitones != 0:
        wave = effects.stretch_and_shift(cut, recipe.tempo_ratio, recipe.pitch_semitones)
    if "filter" in recipe.effects:
        kind = str(rng.choice(["low_pass", "high_pass", "band_pass", "bass", "treble"]))
        low, high = {"low_pass": (1500, 5000), "high_pass": (150, 600), "band_pass": (500, 1500)}.get(kind, (200, 3000))
        frequency = round(float(np.exp(rng.uniform(np.log(low), np.log(high)))), 1)
        gain = float(rng.choice([-9.0, -6.0, 6.0, 9.0])) if kind in ("bass", "treble") else 0.0
        wave = effects.filtered(wave, kind, frequency, gain, rate_hz)
        drawn["filter"] = {"kind": kind, "frequency_hz": frequency, "gain_db": gain}
    if "reverb" in recipe.effects:
        decay, wet = round(float(rng.uniform(0.3, 1.5)), 2), round(float(rng.uniform(0.2, 0.6)), 2)
        wave = effects.reverberated(wave, decay, wet, rate_hz, rng)
        drawn["reverb"] = {"decay_s": decay, "wet": wet}
    if "compression" in recipe.effects:
        threshold, ratio = round(float(rng.uniform(-12, 0)), 1), round(float(rng.uniform(2, 6)), 1)
        wave = effects.compressed(wave, threshold, ratio, rate_hz)
        drawn["compression"] = {"threshold_db": threshold, "ratio": ratio}
    return effects.faded(wave, rate_hz), drawn


def lay(sample: Wave, background: Wave | None, repeats: int, start: int, background_db: float) -> Wave:
    """Mix `repeats` repetitions of `sample` [n] into `background` [m] from index `start` on; the peak becomes 0.9.

    background_db: level of the background relative to the sample. Without a background, returns the repetitions alone.
    """
    run = np.tile(sample, repeats)
    if background is None:
        mix = run
    else:
        # limits the gain if the background is nearly silent there
        under = max(level_db(background[start : start + len(run)]), level_db(background) - 15)
        mix = background * np.float32(10 ** ((level_db(run) + background_db - under) / 20))
        mix[start : start + len(run)] += run
    return (mix * np.float32(0.9 / max(float(np.abs(mix).max()), 1e-6))).astype(np.float32)


def make_query(
    track: Wave, cut_start: int, background: Wave | None, recipe: Recipe, rate_hz: int, rng: np.random.Generator
) -> Made:
    """Cut a sample from `track` [n], transform it, and mix it with `background` [m].

    Uses fewer repeats if the background is too short. Raises ValueError if it is too short for one.
    """
    length = int(recipe.cut_s * rate_hz)
    sample, drawn = transform(track[cut_start : cut_start + length], recipe, rate_hz, rng)
    repeats = recipe.repeats if background is None else min(recipe.repeats, len(background) // len(sample))
    if repeats < 1:
        raise ValueError(
            f"the background ({len(background) if background is not None else 0} samples) is shorter than the sample"
        )
    start = 0 if background is None else int(rng.integers(0, len(background) - repeats * len(sample) + 1))
    wave = lay(sample, background, repeats, start, recipe.background_db or 0.0)
    cut_s, seconds = cut_start / rate_hz, len(sample) / rate_hz
    occurrences = tuple(
        Occurrence(
            round(start / rate_hz + i * seconds, 4),
            round(start / rate_hz + (i + 1) * seconds, 4),
            round(cut_s, 4),
            round(cut_s + length / rate_hz, 4),
        )
        for i in range(repeats)
    )
    return Made(wave, occurrences, drawn)


def same_elsewhere(track: Wave, cut_start: int, length: int, rate_hz: int, least: float = 0.9) -> tuple[float, ...]:
    """Other starts in seconds at which `track` [n] repeats the sample, as sequenced music often does.

    A repeat has a normalised cross-correlation of at least `least`, computed up to 2.7 kHz. Detections of a repeat are
    right.
    """
    step = max(1, rate_hz // 5512)
    kernel = np.hanning(4 * step + 1)
    small = np.convolve(track, kernel / kernel.sum(), "same")[::step].astype(np.float64)
    start, size = cut_start // step, length // step
    cut = small[start : start + size]
    n = 1 << (len(small) + size).bit_length()
    dots = np.fft.irfft(np.fft.rfft(small, n) * np.conj(np.fft.rfft(cut, n)), n)[: len(small) - size + 1]
    energy = np.concatenate([[0.0], np.cumsum(small**2)])
    energy = energy[size : size + len(dots)] - energy[: len(dots)]
    score = dots / np.sqrt(np.maximum(energy * np.sum(cut**2), 1e-12))
    repeats: list[float] = []
    apart = int(0.05 * rate_hz / step)
    for index in np.argsort(-score):
        if score[index] < least or len(repeats) == 64:
            break
        if all(abs(index - taken) > apart for taken in [start, *repeats]):
            repeats.append(int(index))
    return tuple(sorted(round(i * step / rate_hz, 3) for i in repeats))
