"""The demo's music: thirty different tracks; ten have samples exactly where the ground truth says."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asid_core.evaluation.truth import read_truth
from asid_core.signal.decibels import level_db
from asid_core.synthetic import demo_music
from asid_core.synthetic.demo_music import RECIPES, TITLES, Demo, compose, make_demo, write_demo
from asid_core.synthetic.instruments import RATE_HZ, draw_kit, draw_voice


@pytest.fixture(scope="module")
def demo() -> Demo:
    return make_demo()


def _shape(wave: np.ndarray) -> np.ndarray:
    """Mean log spectrum in 60 bands, [60]."""
    power = np.abs(np.fft.rfft(wave)) ** 2
    edges = np.unique(np.geomspace(len(power) // 300, len(power) - 1, 61).astype(int))
    return np.log([power[a:b].mean() + 1e-9 for a, b in zip(edges, edges[1:], strict=False)])


def test_thirty_tracks_of_20_to_40_s_none_clipped_silent_or_offset(demo: Demo) -> None:
    assert list(demo.tracks) == TITLES
    for wave in demo.tracks.values():
        assert wave.dtype == np.float32 and np.isfinite(wave).all()
        assert 20 <= len(wave) / RATE_HZ <= 41
        assert 0.8 <= np.abs(wave).max() <= 0.95
        assert -26 < level_db(wave) < -12
        assert abs(wave.mean()) < 0.01


def test_no_two_tracks_have_the_same_spectrum(demo: Demo) -> None:
    shapes = np.stack([_shape(w) for w in demo.tracks.values()])
    apart = np.sqrt(((shapes[:, None] - shapes[None]) ** 2).mean(axis=-1))
    assert apart[np.triu_indices(len(shapes), 1)].min() > 0.5


def test_ten_relations_and_ten_tracks_that_take_no_part(demo: Demo) -> None:
    relations = demo.truth.relations
    involved = {r.query for r in relations} | {r.reference for r in relations}
    assert len(relations) == len(RECIPES) == 10 and len(involved) == 20
    assert {q.name for q in demo.truth.queries} - involved == set(TITLES[20:])
    for relation, recipe in zip(relations, RECIPES, strict=True):
        assert len(relation.occurrences) == recipe.repeats
        for o in relation.occurrences:
            assert 0 <= o.query_start_s < o.query_end_s <= len(demo.tracks[relation.query]) / RATE_HZ + 1e-3
            assert 0 <= o.reference_start_s < o.reference_end_s <= len(demo.tracks[relation.reference]) / RATE_HZ
            ratio = (o.reference_end_s - o.reference_start_s) / (o.query_end_s - o.query_start_s)
            assert ratio == pytest.approx(relation.tempo_ratio, rel=1e-3)


def test_an_untransformed_sample_is_where_the_truth_says(demo: Demo) -> None:
    plain = [r for r, recipe in zip(demo.truth.relations, RECIPES, strict=True) if recipe.tempo_ratio == 1]
    checked = 0
    for relation in plain:
        if relation.pitch_semitones:
            continue
        query, reference = demo.tracks[relation.query], demo.tracks[relation.reference]
        for o in relation.occurrences:
            start, end = int(o.reference_start_s * RATE_HZ), int(o.reference_end_s * RATE_HZ)
            cut = reference[start:end]
            lags = [
                _correlation(query, cut, int((o.query_start_s + off) * RATE_HZ)) for off in (0.0, 0.1, -0.1, 0.5, -0.5)
            ]
            assert lags[0] > 0.7 and lags[0] > 1.5 * max(lags[1:])
            checked += 1
    assert checked == 5


def _correlation(wave: np.ndarray, cut: np.ndarray, start: int) -> float:
    """The best correlation within 3 samples of `start`, because the ground truth is rounded to 0.1 ms."""
    best = 0.0
    for shift in range(max(0, start - 3), start + 4):
        part = wave[shift : shift + len(cut)]
        best = max(best, float(part @ cut[: len(part)] / np.linalg.norm(part) / np.linalg.norm(cut[: len(part)])))
    return best


def test_same_seed_same_bytes_and_another_seed_other_music() -> None:
    first, again, other = (compose(3, 8.0, np.random.default_rng([seed, 3])) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    n = min(len(first), len(other))
    assert abs(np.corrcoef(first[:n], other[:n])[0, 1]) < 0.2


def test_written_files_read_back(tmp_path: Path, demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_music, "make_demo", lambda seed: demo)
    truth = write_demo(tmp_path / "new" / "folder")
    folder = tmp_path / "new" / "folder"
    assert sorted(p.stem for p in (folder / "music").glob("*")) == sorted(TITLES)
    wave, rate = soundfile.read(folder / "music" / "amber_station.wav", dtype="float32")
    assert rate == RATE_HZ
    np.testing.assert_allclose(wave, demo.tracks["amber_station"], atol=1e-4)
    assert read_truth(folder / "truth.json").relations == truth.relations
    assert json.loads((folder / "truth.json").read_text())["seed"] == 0


@pytest.mark.parametrize("kind", ["pluck", "bell", "lead", "pad", "bass"])
def test_a_note_sounds_at_its_pitch_and_ends_without_a_click(kind: str) -> None:
    wave = draw_voice(kind, np.random.default_rng(1))(220.0, 0.5)
    assert len(wave) == RATE_HZ // 2 and abs(wave[-1]) < 0.01 and np.abs(wave).max() > 0.1
    power = np.abs(np.fft.rfft(wave * np.hanning(len(wave)))) ** 2
    frequencies = np.fft.rfftfreq(len(wave), 1 / RATE_HZ)
    comb = np.abs(frequencies / 220 - np.round(frequencies / 220)) < 0.05
    if kind != "bell":  # a bell's partials are no multiples
        assert power[comb].sum() / power.sum() > 0.9


def test_a_note_too_short_for_a_sample_is_one_sample() -> None:
    assert all(len(draw_voice(k, np.random.default_rng(0))(440.0, 0.0)) == 1 for k in ("lead", "pad", "bell", "pluck"))


def test_drums_differ_in_where_their_energy_lies() -> None:
    kit = draw_kit(np.random.default_rng(0))

    def centroid(wave: np.ndarray) -> float:
        power = np.abs(np.fft.rfft(wave)) ** 2
        return float((power * np.fft.rfftfreq(len(wave), 1 / RATE_HZ)).sum() / power.sum())

    assert centroid(kit["kick"]) < 200 < centroid(kit["snare"]) < centroid(kit["hat"])
