"""The kinds of the wild benchmark: each changes a sample as its name says, and the ground truth has its position."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from asid_core.evaluation.truth import Truth
from asid_core.synthetic import bench, kinds, studio
from asid_core.synthetic.music_files import WORK_RATE_HZ
from tests.asid_core.synthetic.test_bench import music

RATE = WORK_RATE_HZ


@pytest.fixture(scope="module")
def track() -> np.ndarray:
    rng = np.random.default_rng(0)
    clicks = (rng.random(len(music(3, 30))) < 4 / RATE).astype(np.float32)
    return music(3, 30) + 0.5 * np.convolve(clicks, np.exp(-np.arange(400) / 80), "same").astype(np.float32)


@pytest.mark.parametrize("kind", kinds.WILD)
def test_a_piece_lasts_as_long_as_its_tempo_says(kind: str, track: np.ndarray) -> None:
    sampling = kinds.WILD[kind](track, RATE, np.random.default_rng(1))
    wave, occurrences = sampling.laid_out(RATE)
    assert np.isfinite(wave).all() and len(occurrences) == sampling.repeats * len(sampling.pieces)
    for o in occurrences:
        in_query_s, in_reference_s = o.query_end_s - o.query_start_s, o.reference_end_s - o.reference_start_s
        assert in_reference_s == pytest.approx(in_query_s * sampling.tempo_ratio, abs=0.002)
        assert 0 <= o.reference_start_s < o.reference_end_s <= 30.001
        start, end = int(o.query_start_s * RATE), int(o.query_end_s * RATE)
        assert np.abs(wave[start:end]).max() > 1e-4


@pytest.mark.parametrize(
    ("kind", "tempo", "semitones"),
    [("turntable", (0.67, 1.5), (-7.1, 7.1)), ("wide", (0.62, 1.6), (-7, 7)), ("lofi", (0.9, 1.1), (-3, 3))],
)
def test_transformations_are_within_their_ranges(
    kind: str, tempo: tuple[float, float], semitones: tuple[float, float], track: np.ndarray
) -> None:
    for seed in range(8):
        made = kinds.WILD[kind](track, RATE, np.random.default_rng(seed))
        assert tempo[0] <= made.tempo_ratio <= tempo[1] and semitones[0] <= made.pitch_semitones <= semitones[1]
        if kind == "turntable":
            assert made.pitch_semitones == pytest.approx(12 * np.log2(made.tempo_ratio))
        if kind == "wide":
            assert abs(made.pitch_semitones) >= 5 and not 0.7 < made.tempo_ratio < 1.42


def test_chops_are_all_of_the_passage_in_another_order(track: np.ndarray) -> None:
    made = kinds.chopped(track, RATE, np.random.default_rng(2))
    starts = [piece.reference_start_s for piece in made.pieces]
    assert len(starts) == 8 and starts != sorted(starts)
    assert np.diff(sorted(starts)) == pytest.approx(6 / 8, abs=0.01)


def test_short_samples_come_six_times_with_gaps(track: np.ndarray) -> None:
    made = kinds.short(track, RATE, np.random.default_rng(3))
    _, occurrences = made.laid_out(RATE)
    assert len(occurrences) == 6
    gaps = [b.query_start_s - a.query_end_s for a, b in zip(occurrences, occurrences[1:], strict=False)]
    assert min(gaps) >= 0.49
    assert all(1.2 / 1.1 <= o.query_end_s - o.query_start_s <= 2.8 / 0.9 for o in occurrences)


def test_clicks_are_percussive_and_a_tone_is_harmonic() -> None:
    times = np.arange(3 * RATE) / RATE
    tone = (0.3 * np.sin(2 * np.pi * 440 * times)).astype(np.float32)
    clicks = np.zeros_like(tone)
    clicks[:: RATE // 4] = 1.0
    harmonic, percussive = studio.harmonic_percussive(tone + clicks)
    assert np.corrcoef(harmonic, tone)[0, 1] > 0.95 and np.corrcoef(percussive, clicks)[0, 1] > 0.7


def test_a_wandering_speed_keeps_its_mean() -> None:
    times = np.arange(12 * RATE) / RATE
    wave = np.sin(2 * np.pi * 200 * times).astype(np.float32)
    wandering = studio.wandering(wave, RATE, 0.02, 4.0, 0.5)
    crossings = np.flatnonzero((wandering[:-1] < 0) & (wandering[1:] >= 0)) / RATE
    speed = 1 / (np.diff(crossings) * 200)
    assert len(crossings) / 200 == pytest.approx(12, abs=0.02)  # all of it is played
    assert speed.mean() == pytest.approx(len(wave) / len(wandering), abs=2e-3) and 0.015 < speed.max() - 1 < 0.025


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    corpus, output = tmp_path_factory.mktemp("corpus"), tmp_path_factory.mktemp("bench")
    for folder, names in {"a": ["red", "blue", "grey", "pink"], "b": ["x1", "y"], "c": ["z"]}.items():
        (corpus / folder).mkdir()
        for number, name in enumerate(names):
            soundfile.write(corpus / folder / f"{name}.wav", music(ord(folder) + number, 40), RATE)
    wanted = ["short", "reversed", "none", "none_alike"]
    backgrounds, distractors = [corpus / "b"], [corpus / "c"]
    made = bench.make_bench(corpus / "a", output, 1, 8, kinds=wanted, backgrounds=backgrounds, distractors=distractors)
    return output, made


def test_kinds_come_in_turn_and_distractors_are_references_that_nobody_samples(made: tuple[Path, Truth]) -> None:
    output, truth = made
    assert [q.groups["tier"] for q in truth.queries] == ["short", "reversed", "none", "none_alike"] * 2
    assert len(truth.relations) == 4 and {r.groups["tier"] for r in truth.relations} == {"short", "reversed"}
    files = {p.stem for p in (output / "references").iterdir()}
    assert files - set(truth.references) == {"distractor_c_z"}
    alike = {q.groups["background"] for q in truth.queries if q.groups["tier"] == "none_alike"}
    assert [r.backwards for r in truth.relations] == [False, True] * 2
    assert alike and not alike & set(truth.references) and all(name.startswith("a_") for name in alike)


@pytest.mark.parametrize(("names", "message"), [(["shorts"], "unknown kind 'shorts'"), ([], "unknown kind")])
def test_unknown_kinds_are_refused_with_those_there_are(names: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bench.expanded(names)
    assert set(bench.expanded(["wild"])) == {*kinds.WILD, *bench.NOTHING}
