import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asid_core.evaluation import sample100
from asid_core.evaluation.truth import Truth, read_truth, track_name
from asid_core.signal.decibels import level_db
from asid_core.synthetic import bench, synthesis
from asid_core.synthetic.bench import make_bench
from asid_core.synthetic.music_files import family, recording

RATE = bench.WORK_RATE_HZ


def music(seed: int, seconds: float) -> np.ndarray:
    """Random notes, one every quarter of a second, so that no two passages are alike."""
    rng = np.random.default_rng(seed)
    step = RATE // 4
    t = np.arange(step) / RATE
    notes = [
        np.sin(2 * np.pi * 110 * 2 ** (rng.integers(0, 36) / 12) * t) * np.exp(-6 * t) for _ in range(int(seconds * 4))
    ]
    return (0.3 * np.concatenate(notes)).astype(np.float32)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    names = ["red_1", "red_1__habc123", "green", "blue-x", "grey_a", "grey_b", "violet", "white"]
    for seed, name in enumerate(names):
        soundfile.write(folder / f"{name}.wav", music(seed, 45), RATE)
    soundfile.write(folder / "silence.wav", np.zeros(45 * RATE, np.float32), RATE)
    (folder / "broken.mp3").write_bytes(b"not music")
    return folder


@pytest.fixture(scope="module")
def made(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    output = tmp_path_factory.mktemp("bench")
    backgrounds = [corpus / "grey_a.wav", corpus / "white.wav"]
    return output, make_bench(corpus, output, seed=5, queries_wanted=15, backgrounds=backgrounds)


def test_every_fifth_query_samples_nothing_and_every_other_one_reference(made: tuple[Path, Truth]) -> None:
    _, truth = made
    relevant = truth.relevant()
    assert [len(relevant[q.name]) for q in truth.queries] == [1, 1, 1, 1, 0] * 3
    tiers = [q.groups["tier"] for q in truth.queries]
    assert (tiers.count("exact"), tiers.count("mild"), tiers.count("hard"), tiers.count("none")) == (3, 3, 6, 3)


def test_no_reference_is_a_bed_or_its_variant_or_twice_there(made: tuple[Path, Truth]) -> None:
    output, truth = made
    names = [r.split("_", 1)[1] for r in truth.references]
    assert names == ["blue_x", "green", "red_1", "violet"]
    assert sorted(p.stem for p in (output / "references").iterdir()) == sorted(truth.references)


def test_hard_queries_are_within_the_stated_ranges(made: tuple[Path, Truth]) -> None:
    for r in made[1].relations:
        assert r.tempo_ratio is not None and r.pitch_semitones is not None
        assert 0.78 <= r.tempo_ratio <= 1.3 and -3 <= r.pitch_semitones <= 3
        first = r.occurrences[0]
        cut = first.reference_end_s - first.reference_start_s
        assert 4 <= cut <= 9.001
        assert cut == pytest.approx((first.query_end_s - first.query_start_s) * r.tempo_ratio, rel=0.001)
        changed = (r.tempo_ratio != 1) + (r.pitch_semitones != 0)
        assert changed == {"exact": 0, "mild": 1, "hard": 2}[r.groups["tier"]]


def test_an_exact_cut_is_found_where_the_truth_says(made: tuple[Path, Truth]) -> None:
    output, truth = made
    for relation in (r for r in truth.relations if r.groups["tier"] == "exact"):
        query, rate = soundfile.read(output / "queries" / f"{relation.query}.flac")
        reference, _ = soundfile.read(output / "references" / f"{relation.reference}.flac")
        assert rate == 16_000
        for o in relation.occurrences:
            start, length = int((o.reference_start_s + 1) * rate), 2 * rate
            at = int((o.query_start_s + 1) * rate)
            heard, source = query[at : at + length], reference[start : start + length]
            dots = np.correlate(heard, source[40:-40])
            assert dots.max() / np.linalg.norm(heard) / np.linalg.norm(source) > 0.9
            assert abs(int(np.argmax(dots)) - 40) <= 2


def test_same_seed_same_benchmark_and_fewer_queries_are_a_prefix(corpus: Path, tmp_path: Path) -> None:
    one = make_bench(corpus, tmp_path / "a", seed=1, queries_wanted=3)
    two = make_bench(corpus, tmp_path / "b", seed=1, queries_wanted=2)
    assert one.queries[:2] == two.queries and one.relations[:2] == two.relations
    for name in ("q0000", "q0001"):
        assert (tmp_path / "a/queries" / f"{name}.flac").read_bytes() == (
            tmp_path / "b/queries" / f"{name}.flac"
        ).read_bytes()
    other = make_bench(corpus, tmp_path / "c", seed=2, queries_wanted=2)
    assert other.relations != two.relations


def test_truth_and_sample100_annotations_say_the_same(made: tuple[Path, Truth]) -> None:
    output, truth = made
    assert read_truth(output / "truth.json") == truth
    annotated = sample100.read_annotations(output)
    again = annotated.truth()
    assert {(r.query, r.reference) for r in again.relations} == {(r.query, r.reference) for r in truth.relations}
    for ours, theirs in zip(truth.relations, again.relations, strict=True):
        assert ours.occurrences == theirs.occurrences and ours.tempo_ratio == theirs.tempo_ratio
    assert annotated.missing(str(p) for p in output.rglob("*.flac")) == []


def test_it_refuses_to_overwrite_and_says_when_there_is_too_little(
    made: tuple[Path, Truth], corpus: Path, tmp_path: Path
) -> None:
    with pytest.raises(FileExistsError, match="holds a benchmark"):
        make_bench(corpus, made[0])
    with pytest.raises(ValueError, match="too little music"):
        make_bench(corpus / "red_1.wav", tmp_path / "x")
    (tmp_path / "truth.json").write_text(json.dumps({"something": 1}))
    with pytest.raises(ValueError, match="not a benchmark's truth"):
        read_truth(tmp_path / "truth.json")


def test_names() -> None:
    assert family(Path("city_boss_finale.ogg")) == family(Path("city_1__h66100d.ogg")) == "city"
    assert recording(Path("city_1__h66100d.ogg")) == recording(Path("City_1 (2).mp3")) == "city_1"
    assert recording(Path("winning_plusplus.ogg")) == recording(Path("winning_plus.ogg"))
    assert recording(Path("farm_fast.ogg")) == recording(Path("farm_f.ogg")) == recording(Path("farm.ogg")) == "farm"
    assert recording(Path("city_1.ogg")) != recording(Path("city_2.ogg"))
    assert track_name("queries/q1.flac") == track_name("q1") == "q1" and track_name("a/Vol. 2") == "Vol. 2"


def test_the_bed_is_as_loud_as_asked() -> None:
    sample, background = music(1, 2), music(2, 10)
    mix = synthesis.lay(sample, background.copy(), 2, RATE, -6.0)
    alone = np.concatenate([mix[:RATE], mix[5 * RATE :]])
    loud = level_db(mix[RATE : 5 * RATE])
    # powers of unrelated music add: the sum is 10 log10(1 + 10^-0.6) = 0.97 dB over the sample
    assert level_db(alone) - (loud - 0.97) == pytest.approx(-6, abs=1.0)
    assert np.abs(mix).max() == pytest.approx(0.9, abs=1e-3)


def test_repeats_of_the_cut_elsewhere_are_found() -> None:
    bar = music(3, 4)
    track = np.concatenate([bar, music(4, 4), bar, music(5, 4)])
    assert synthesis.same_elsewhere(track, 0, 4 * RATE, RATE) == pytest.approx((8.0,), abs=0.01)
    assert synthesis.same_elsewhere(track, 4 * RATE, 4 * RATE, RATE) == ()


def test_a_query_shortens_its_loop_to_the_bed_and_refuses_one_too_short() -> None:
    recipe = synthesis.Recipe("hard", 4.0, 4, 0.8, 1.0, -6.0, ("filter", "reverb", "compression"))
    rng = np.random.default_rng(0)
    made = synthesis.make_query(music(6, 20), 0, music(7, 12), recipe, RATE, rng)
    assert len(made.occurrences) == 2 and set(made.effects) == {"filter", "reverb", "compression"}
    assert np.isfinite(made.wave).all()
    with pytest.raises(ValueError, match="shorter than the sample"):
        synthesis.make_query(music(6, 20), 0, music(7, 3), recipe, RATE, rng)
