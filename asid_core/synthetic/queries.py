"""Makes the queries of a benchmark, each with its own random generator."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from asid_core.evaluation.truth import Occurrence, Query, Relation
from asid_core.signal.decibels import level_db
from asid_core.synthetic import synthesis
from asid_core.synthetic.effects import Wave
from asid_core.synthetic.kinds import WILD
from asid_core.synthetic.music_files import WORK_RATE_HZ

MAX_QUERY_S = 60.0

Made = tuple[Query, Relation | None, Wave]


def make(
    tracks: dict[str, Wave],
    backgrounds: dict[str, Wave],
    alike: dict[str, Wave],
    kinds: Sequence[str],
    seed: int,
    count: int,
) -> Iterator[Made]:
    """Yield `count` queries, cycling through `kinds`. All waveforms [n] are given by name, at WORK_RATE_HZ.

    Each query has its own random generator, so that asking for more queries does not change the first ones.
    """
    order = np.random.default_rng([seed, 1]).permutation(len(tracks))
    background_order = np.random.default_rng([seed, 2]).permutation(len(backgrounds))
    sampling_kinds = sum(not kind.startswith("none") for kind in kinds)
    sampled = resembled = 0
    for index in range(count):
        rng = np.random.default_rng([seed, 3, index])
        name, kind = f"q{index:04d}", kinds[index % len(kinds)]
        background_name = list(backgrounds)[background_order[turn(index, len(kinds), len(backgrounds))]]
        if kind.startswith("none"):
            source = backgrounds if kind == "none" else alike
            heard = background_name if kind == "none" else list(alike)[resembled % len(alike)]
            resembled += kind == "none_alike"
            wave = _excerpt(source[heard], rng)
            yield Query(name, len(wave) / WORK_RATE_HZ, {"tier": kind, "background": heard}), None, wave
            continue
        background = _excerpt(backgrounds[background_name], rng)
        reference = list(tracks)[order[turn(sampled, sampling_kinds, len(tracks))]]
        sampled += 1
        make_one = _wild if kind in WILD else _textbook
        yield make_one(name, kind, reference, tracks[reference], background_name, background, rng)


def turn(index: int, kinds: int, count: int) -> int:
    """Which of `count` items the `index`-th query uses, so that eventually every kind uses all items.

    Plain cycling would give each kind only some of the items if `kinds` and `count` share a factor.
    """
    return (index + index // math.lcm(kinds, count)) % count


def _excerpt(track: Wave, rng: np.random.Generator) -> Wave:
    """An excerpt of 30 to 60 s of a track that is not silent."""
    length = min(int(rng.uniform(30, MAX_QUERY_S) * WORK_RATE_HZ), len(track))
    start = synthesis.find_cut(track, length, rng, WORK_RATE_HZ) or 0
    return track[start : start + length].copy()


def _textbook(
    name: str, tier: str, reference: str, track: Wave, background_name: str, background: Wave, rng: np.random.Generator
) -> Made:
    recipe = synthesis.draw_recipe(tier, rng)
    length = int(recipe.cut_s * WORK_RATE_HZ)
    start = synthesis.find_cut(track, length, rng, WORK_RATE_HZ) or 0
    made = synthesis.make_query(
        track, start, None if recipe.background_db is None else background, recipe, WORK_RATE_HZ, rng
    )
    groups = {
        "tier": tier,
        "background": background_name if recipe.background_db is not None else "",
        "background_db": "none" if recipe.background_db is None else f"{recipe.background_db:g}",
        "effects": json.dumps(made.effects),
    }
    same = synthesis.same_elsewhere(track, start, length, WORK_RATE_HZ)
    tempo_ratio, semitones = recipe.tempo_ratio, recipe.pitch_semitones
    relation = Relation(name, reference, made.occurrences, tempo_ratio, semitones, same, groups)
    return Query(name, len(made.wave) / WORK_RATE_HZ, groups), relation, made.wave


def _wild(
    name: str, kind: str, reference: str, track: Wave, background_name: str, background: Wave, rng: np.random.Generator
) -> Made:
    sampling = WILD[kind](track, WORK_RATE_HZ, rng)
    sample, occurrences = sampling.laid_out(WORK_RATE_HZ)
    while len(sample) > len(background) and sampling.repeats > 1:
        sampling = replace(sampling, repeats=sampling.repeats - 1)
        sample, occurrences = sampling.laid_out(WORK_RATE_HZ)
    sample = sample[: len(background)]
    start = int(rng.integers(0, len(background) - len(sample) + 1))
    wave = _mixed(sample, background, start, sampling.background_db)
    start_s, end_s = start / WORK_RATE_HZ, len(wave) / WORK_RATE_HZ
    placed = tuple(_later(o, start_s) for o in occurrences if o.query_start_s + start_s < end_s)
    groups = {
        "tier": kind,
        "background": background_name,
        "background_db": f"{sampling.background_db:g}",
        "effects": "",
    }
    start_of_all, length_s = sampling.pieces[0].reference_start_s, sum(_length_s(p.wave) for p in sampling.pieces)
    length = min(int(length_s * sampling.tempo_ratio * WORK_RATE_HZ), len(track))
    first = min(int(min(p.reference_start_s for p in sampling.pieces) * WORK_RATE_HZ), len(track) - length)
    same = synthesis.same_elsewhere(track, first, length, WORK_RATE_HZ)
    moved = tuple(start_of_all + other - first / WORK_RATE_HZ for other in same)
    tempo_ratio, semitones = round(sampling.tempo_ratio, 4), round(sampling.pitch_semitones, 3)
    relation = Relation(name, reference, placed, tempo_ratio, semitones, moved, groups, sampling.backwards)
    return Query(name, end_s, groups), relation, wave


def _length_s(wave: Wave) -> float:
    return len(wave) / WORK_RATE_HZ


def _later(occurrence: Occurrence, by_s: float) -> Occurrence:
    start_s, end_s = round(occurrence.query_start_s + by_s, 4), round(occurrence.query_end_s + by_s, 4)
    return replace(occurrence, query_start_s=start_s, query_end_s=end_s)


def _mixed(sample: Wave, background: Wave, start: int, background_db: float) -> Wave:
    """Mix `sample` into `background` [n] at index `start`; `background_db`: its level relative to the sample."""
    sounding = sample[np.abs(sample) > 0]
    under = max(
        level_db(background[start : start + len(sample)]), level_db(background) - 15
    )  # limits the gain if the background is nearly silent there
    mix = background * np.float32(10 ** ((level_db(sounding) + background_db - under) / 20))
    mix[start : start + len(sample)] += sample
    return (mix * np.float32(0.9 / max(float(np.abs(mix).max()), 1e-6))).astype(np.float32)
