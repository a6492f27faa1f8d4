"""Synthesises thirty short tracks, ten of which sample ten others in known ways. The same seed gives the same bytes.

Every track has its own tempo, key, chords, melody, timbres and drums. A sample is cut from rendered audio, transformed
by `effects`, looped, and mixed with another piece of music.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from asid_core.evaluation.truth import Query, Relation, Truth
from asid_core.signal.decibels import level_db
from asid_core.synthetic import synthesis
from asid_core.synthetic.effects import Wave
from asid_core.synthetic.instruments import RATE_HZ, Voice, draw_kit, draw_voice
from asid_core.synthetic.synthesis import Recipe

# the first ten sample the next ten; the last ten are unrelated
TITLES = [
    "amber_station",
    "blue_orchard",
    "cold_harbour",
    "dust_parade",
    "early_train",
    "far_lantern",
    "glass_river",
    "high_meadow",
    "iron_garden",
    "jade_window",
    "kind_thunder",
    "low_cathedral",
    "mint_rooftop",
    "north_arcade",
    "old_satellite",
    "paper_canyon",
    "quiet_engine",
    "red_ferry",
    "silver_attic",
    "tall_weather",
    "under_palms",
    "violet_depot",
    "warm_signal",
    "yellow_tide",
    "zinc_mirror",
    "open_quarry",
    "plain_comet",
    "round_forest",
    "soft_turbine",
    "wide_market",
]

# from a plain loop to all changes at once; a tempo ratio of 2 ** (n / 12) with n semitones is that of a turntable
RECIPES = tuple(
    Recipe("demo", cut_s, repeats, tempo, pitch, background_db, ())
    for cut_s, repeats, tempo, pitch, background_db in (
        (7.0, 2, 1.0, 0.0, -6.0),
        (5.0, 3, 1.0, 0.0, -8.0),
        (6.0, 2, 1.0, 2.0, -8.0),
        (6.0, 3, 1.12, 0.0, -10.0),
        (8.0, 2, 2 ** (3 / 12), 3.0, -8.0),
        (7.0, 2, 2 ** (-2 / 12), -2.0, -7.0),
        (5.0, 4, 0.9, 0.0, -8.0),
        (6.0, 2, 1.25, -1.0, -8.0),
        (6.5, 2, 0.8, 1.0, -9.0),
        (7.5, 3, 1.08, -3.0, -9.0),
    )
)
SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 3, 5, 7, 9, 10), (0, 2, 4, 5, 7, 9, 10))
QUERY_S = 34.0
LOUD_DB = -18.0


@dataclass(frozen=True)
class Demo:
    """The demo catalogue. tracks: waveforms [n] at 22.05 kHz by name. `truth` lists all as queries and references."""

    tracks: dict[str, Wave]
    truth: Truth


def make_demo(seed: int = 0) -> Demo:
    """Compose all tracks. The first ten sample the next ten; the last ten sample nothing and are not sampled."""
    count = len(RECIPES)
    music = {}
    for index, title in enumerate(TITLES):
        duration_s = QUERY_S if index < count else 22.0 + (index * 7) % 17
        music[title] = compose(index, duration_s, np.random.default_rng([seed, index]))
    relations = []
    for index, recipe in enumerate(RECIPES):
        query, reference = TITLES[index], TITLES[index + count]
        music[query], relation = _sample(query, reference, music, recipe, np.random.default_rng([seed, 100, index]))
        relations.append(relation)
    queries = tuple(Query(name, round(len(wave) / RATE_HZ, 3)) for name, wave in music.items())
    return Demo(music, Truth(queries, tuple(music), tuple(relations)))


def write_demo(directory: Path, seed: int = 0) -> Truth:
    """Write `music/NAME.wav` (22.05 kHz, 16 bit, mono) for every track and `truth.json`; returns the truth."""
    demo = make_demo(seed)
    (directory / "music").mkdir(parents=True, exist_ok=True)
    for name, wave in demo.tracks.items():
        soundfile.write(directory / "music" / f"{name}.wav", wave, RATE_HZ, subtype="PCM_16")
    (directory / "truth.json").write_text(json.dumps({"seed": seed, "truth": demo.truth.to_dict()}, indent=1))
    return demo.truth


def _sample(
    query: str, reference: str, music: dict[str, Wave], recipe: Recipe, rng: np.random.Generator
) -> tuple[Wave, Relation]:
    track, length = music[reference], int(recipe.cut_s * RATE_HZ)
    start = synthesis.find_cut(track, length, rng) or 0
    made = synthesis.make_query(track, start, music[query], recipe, RATE_HZ, rng)
    elsewhere = synthesis.same_elsewhere(track, start, length, RATE_HZ)
    relation = Relation(
        query, reference, made.occurrences, round(recipe.tempo_ratio, 5), recipe.pitch_semitones, elsewhere
    )
    return made.wave, relation


def compose(index: int, duration_s: float, rng: np.random.Generator) -> Wave:
    """A piece of music [n] of about `duration_s`, with drums, bass, chords and a melody. `index` selects the tempo."""
    # 71 to 158 beats per minute in steps of 3, ordered so that consecutive tracks differ much
    beat_s = 60.0 / (71 + 3 * (index * 11 % len(TITLES)))
    beats = int(rng.choice([4, 4, 4, 3]))
    bars = max(1, round(duration_s / (beat_s * beats)))
    out = np.zeros(int((bars * beats * beat_s + 1.0) * RATE_HZ), np.float32)
    key = int(rng.integers(0, 12))
    scale = SCALES[int(rng.integers(len(SCALES)))]
    notes = [12 * octave + key + step for octave in range(9) for step in scale]
    roots = _progression(rng)
    layers = (
        (_drums(bars, beats, beat_s, rng), 1.0),
        (_bass_line(bars, beats, beat_s, notes, roots, rng), 0.9),
        (_chords(bars, beats, beat_s, notes, roots, rng), 0.8),
        (_melody(bars, beats, beat_s, notes, roots, rng), 1.0),
    )
    for layer, weight in layers:
        gain = weight * rng.uniform(0.8, 1.2) * 10 ** ((LOUD_DB - level_db(layer)) / 20)
        out[: len(layer)] += np.float32(gain) * layer[: len(out)]
    return out * np.float32(0.85 / max(float(np.abs(out).max()), 1e-6))


def _progression(rng: np.random.Generator) -> list[int]:
    """Eight scale degrees, one chord per bar, without immediate repetition."""
    degrees = [int(rng.integers(0, 7))]
    while len(degrees) < 8:
        degree = int(rng.integers(0, 7))
        if degree != degrees[-1]:
            degrees.append(degree)
    return degrees


class _Staff:
    """A layer of notes of one instrument. Each (pitch, duration) is rendered only once."""

    def __init__(self, duration_s: float, voice: Voice) -> None:
        self.wave = np.zeros(int((duration_s + 1.0) * RATE_HZ), np.float32)
        self.voice = voice
        self.rendered: dict[tuple[int, float], Wave] = {}

    def add(self, at_s: float, pitch: int, duration_s: float, level: float) -> None:
        key = (pitch, round(duration_s, 3))
        if key not in self.rendered:
            self.rendered[key] = self.voice(440.0 * 2 ** ((pitch - 69) / 12), duration_s)
        _mix(self.wave, self.rendered[key], at_s, level)


def _mix(into: Wave, wave: Wave, at_s: float, level: float) -> None:
    start = max(0, int(at_s * RATE_HZ))
    part = wave[: max(0, len(into) - start)]
    into[start : start + len(part)] += np.float32(level) * part


def _drums(bars: int, beats: int, beat_s: float, rng: np.random.Generator) -> Wave:
    """A random pattern of sixteenths, with a few steps changed in every bar."""
    kit = draw_kit(rng)
    steps, step_s = beats * 4, beat_s / 4
    chance = {name: rng.uniform(low, high, steps) for name, low, high in _DRUM_CHANCES}
    chance["kick"][0], chance["snare"][4 :: 8 if beats == 4 else 4] = 0.95, 0.9
    swing = rng.uniform(0, 0.3)
    wave = np.zeros(int((bars * beats * beat_s + 1.0) * RATE_HZ), np.float32)
    for bar in range(bars):
        for step in range(steps):
            at_s = (bar * steps + step + (swing if step % 2 else 0.0)) * step_s + rng.normal(0, 0.003)
            for name, odds in chance.items():
                if odds[step] > 0.62 + rng.normal(0, 0.1):
                    _mix(wave, kit[name], at_s, rng.uniform(0.6, 1.0))
    return wave


_DRUM_CHANCES = (("kick", 0.0, 0.75), ("snare", 0.0, 0.62), ("hat", 0.2, 1.0), ("open", 0.0, 0.6))


def _bass_line(
    bars: int, beats: int, beat_s: float, notes: list[int], roots: list[int], rng: np.random.Generator
) -> Wave:
    """The chord's root on the first beat; root, third, fifth or octave on random eighths."""
    staff = _Staff(bars * beats * beat_s, draw_voice("bass", rng))
    for bar in range(bars):
        degree = 14 + roots[bar % len(roots)]
        for eighth in range(beats * 2):
            if eighth == 0 or rng.random() < 0.45:
                pitch = notes[degree + (0 if eighth == 0 else int(rng.choice([0, 0, 2, 4, 7])))]
                at_s = (bar * beats + eighth / 2) * beat_s
                staff.add(at_s, pitch, beat_s * float(rng.choice([0.5, 1.0])), rng.uniform(0.7, 1.0))
    return staff.wave


def _chords(bars: int, beats: int, beat_s: float, notes: list[int], roots: list[int], rng: np.random.Generator) -> Wave:
    """Held chords or broken chords, at random."""
    broken = rng.random() < 0.5
    staff = _Staff(bars * beats * beat_s, draw_voice(str(rng.choice(["pluck", "bell"])) if broken else "pad", rng))
    for bar in range(bars):
        degree = 28 + roots[bar % len(roots)]
        tones = [degree + step for step in (0, 2, 4, int(rng.choice([6, 7])))]
        if broken:
            for eighth in range(beats * 2):
                at_s = (bar * beats + eighth / 2) * beat_s
                staff.add(at_s, notes[int(rng.choice(tones))], beat_s, rng.uniform(0.5, 1.0))
        else:
            for tone in tones:
                staff.add(bar * beats * beat_s, notes[tone], beats * beat_s, rng.uniform(0.7, 1.0))
    return staff.wave


def _melody(bars: int, beats: int, beat_s: float, notes: list[int], roots: list[int], rng: np.random.Generator) -> Wave:
    """A random walk on the scale that starts each bar on a chord tone."""
    staff = _Staff(bars * beats * beat_s, draw_voice(str(rng.choice(["lead", "pluck", "bell"])), rng))
    for bar in range(bars):
        place = 35 + roots[bar % len(roots)] + int(rng.choice([0, 2, 4]))
        beat = 0.0
        while beat < beats:
            length = float(rng.choice([0.25, 0.5, 0.5, 1.0, 1.5]))
            if rng.random() < 0.85:
                staff.add((bar * beats + beat) * beat_s, notes[place], length * beat_s * 1.1, rng.uniform(0.5, 1.0))
            place = int(np.clip(place + rng.integers(-3, 4), 30, 48))
            beat += length
    return staff.wave
