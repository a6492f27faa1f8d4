"""Removing and adding distractors."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from asid_core import schema
from asid_core.config import Config, ScoreConfig, SearchConfig
from asid_core.evaluation.truth import Query, Relation, Truth
from benchmarks import distractors
from benchmarks.lib.distractors import fit_tails
from benchmarks.lib.growth import Growth, Measured, pairs_of

CONFIG = Config(search=SearchConfig(verify_tracks=5), score=ScoreConfig(intercept=-6.0, coarse=1.0, verify=0.0))
DISTRACTORS, REFERENCES, QUERIES = 40, 6, 20


def truth() -> Truth:
    """Twenty queries of one minute; all except every fifth sample a reference."""
    queries = tuple(Query(f"q{i}", 60.0, {"tier": "none" if i % 5 == 4 else "hard"}) for i in range(QUERIES))
    relations = tuple(Relation(q.name, f"r{i % REFERENCES}") for i, q in enumerate(queries) if i % 5 != 4)
    return Truth(queries, tuple(f"r{i}" for i in range(REFERENCES)), relations)


def detections(true_coarse: float, rng: np.random.Generator) -> pa.Table:
    """True pairs have one coarse score, wrong pairs exponential ones. The final score is the coarse score."""
    fill = {"query_start_s": 0.0, "query_end_s": 5.0, "reference_start_s": 0.0, "reference_end_s": 5.0, "rank": 1,
            "tempo_ratio": 1.0, "num_windows": 1, "kind": "sample", "sweep_id": "s", "model_id": "m"}  # fmt: skip
    relevant = truth().relevant()
    rows = []
    for query, right in relevant.items():
        for name in [*(f"r{i}" for i in range(REFERENCES)), *(f"distractor_{i}" for i in range(DISTRACTORS))]:
            coarse = true_coarse if name in right else 2 + float(rng.exponential(0.5))
            score = 1 / (1 + np.exp(6 - coarse))
            rows.append({"query_id": query, "reference_id": name, "coarse_score": coarse, "score": score, **fill})
    return pa.Table.from_pylist(rows, schema=schema.DETECTIONS)


def growth(true_coarse: float) -> Growth:
    pairs = pairs_of(detections(true_coarse, np.random.default_rng(0)), truth(), "distractor_")
    return Growth(truth(), pairs, [f"distractor_{i}" for i in range(DISTRACTORS)], CONFIG, 10**6)


def tails(scale: float = 0.5) -> dict:
    rng = np.random.default_rng(1)
    fitted = fit_tails([2 + rng.exponential(scale, 200) for _ in range(QUERIES)], 200)
    return {f"q{i}": tail for i, tail in enumerate(fitted)}


def test_what_a_query_ignores_is_no_pair() -> None:
    known = truth()
    ignoring = replace(known, queries=tuple(replace(query, ignored=("distractor_3",)) for query in known.queries))
    rows = detections(4.5, np.random.default_rng(0))
    all_pairs, pairs = (pairs_of(rows, some, "distractor_") for some in (known, ignoring))
    assert pairs == {
        query: [one for one in some if one.reference != "distractor_3"] for query, some in all_pairs.items()
    }
    assert sum(map(len, pairs.values())) == sum(map(len, all_pairs.values())) - QUERIES


def test_synthetic_distractors_of_the_same_statistics_cost_what_real_ones_do() -> None:
    made = growth(4.5)
    assert made.num_distractors == DISTRACTORS
    for size in (10, 40):
        real, synthetic = made.with_real(size), made.with_synthetic(size, tails())
        assert synthetic.map_all == pytest.approx(real.map_all, abs=0.12)
        assert synthetic.auroc == pytest.approx(real.auroc, abs=0.25)  # of 16 against 4
        assert np.mean(made.best_synthetic(size, tails())) == pytest.approx(np.mean(made.best_real(size)), abs=0.3)


def test_more_distractors_never_help_and_push_the_weak_out_of_the_verified() -> None:
    found = [growth(5.0).with_synthetic(size, tails()) for size in (0, 100, 10_000, 1_000_000)]
    assert found[0].map_all == found[0].recall == 1.0
    assert all(b.map_all <= a.map_all + 0.02 and b.recall <= a.recall + 0.02 for a, b in itertools.pairwise(found))
    assert found[-1].recall < 0.2 and found[-1].auroc < 0.8  # chance, of 16 against 4
    assert found[-1].false_alarms_per_hour > found[1].false_alarms_per_hour
    strong = growth(30.0).with_synthetic(1_000_000, tails())
    assert strong.map_all == strong.recall == strong.auroc == 1.0


@pytest.mark.parametrize("tries", [10**4, 10**9])
def test_more_tries_lower_all_scores_alike(tries: int) -> None:
    config = replace(CONFIG, score=replace(CONFIG.score, tries=0.5))
    pairs = pairs_of(detections(5.0, np.random.default_rng(0)), truth(), "distractor_")
    made = Growth(truth(), pairs, [f"distractor_{i}" for i in range(DISTRACTORS)], config, tries)
    tenfold = 10 * (REFERENCES + DISTRACTORS) - REFERENCES  # distractors, for ten times the references
    assert made._prior(DISTRACTORS) == 0.0
    assert made._prior(tenfold) == pytest.approx(-0.5 * np.log(10))


def test_scores_that_are_too_low_are_brought_to_the_real_ones() -> None:
    made = growth(4.5)
    low = {name: tail.moved(-0.5, 0.6) for name, tail in tails().items()}
    moved, shift, scale = made.calibrated(low)
    assert scale == pytest.approx(1 / 0.6, rel=0.3) and shift == pytest.approx(0.5 / 0.6, abs=0.6)
    for size in (10, 20, 40):
        assert np.mean(made.best_synthetic(size, moved)) == pytest.approx(np.mean(made.best_real(size)), abs=0.25)
        assert np.mean(made.best_synthetic(size, low)) < np.mean(made.best_real(size)) - 1


def test_without_distractors_real_and_synthetic_are_one() -> None:
    made = growth(4.0)
    assert made.with_real(0) == made.with_synthetic(0, tails())
    assert (
        Measured.header().count("|")
        == made.with_real(0).row("real", 0).count("|") + Measured.header().count("---|") + 1
    )


def test_it_says_what_to_run_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert distractors.main(["--music", str(tmp_path), "--bench", str(tmp_path / "none")]) == 2
    assert "make -C benchmarks quality" in capsys.readouterr().err
