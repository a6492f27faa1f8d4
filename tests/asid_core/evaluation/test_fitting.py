"""Fitting the score's coefficients: compared with scikit-learn, and which pairs it uses."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asid_core import schema
from asid_core.config import COHERENT, ScoreConfig
from asid_core.evaluation.fitting import (
    MAX_ALARMS_PER_HOUR,
    PER_TRY,
    alarm_level,
    best_rows,
    fit_reviewed,
    fit_score,
    logistic,
)
from asid_core.evaluation.truth import Query, Relation, Truth

TRUTH = Truth(
    tuple(Query(f"q{i}", 45.0) for i in range(40)), ("r0", "r1"), tuple(Relation(f"q{i}", "r0") for i in range(20))
)


def table(rows: list[tuple[str, str, float, float, float]]) -> pa.Table:
    """Detections (query, reference, score, coarse_score, verify_score) of a model without a reranker."""
    fill = dict.fromkeys(("query_start_s", "query_end_s", "reference_start_s", "reference_end_s"), 0.0)
    more = {"tempo_ratio": 1.0, "num_windows": 1, "kind": "sample", "rank": 1, "sweep_id": "s", "model_id": "m"}
    values = [
        {"query_id": q, "reference_id": r, "score": s, "coarse_score": c, "verify_score": v, **fill, **more}
        for q, r, s, c, v in rows
    ]
    return pa.Table.from_pylist(values, schema=schema.DETECTIONS)


def overlapping() -> pa.Table:
    """Every query is paired with r0. The first twenty do sample it and mostly score higher."""
    rng = np.random.default_rng(0)
    return table(
        [
            (f"queries/q{i}.flac", "references/r0.flac", 0.5, rng.normal(5 if i < 20 else 3), rng.normal(0.4, 0.2))
            for i in range(40)
        ]
    )


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**16), gap=st.floats(0, 6), scale=st.floats(0.1, 20))
def test_it_is_the_penalised_logistic_regression_of_scikit_learn(seed: int, gap: float, scale: float) -> None:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(seed)
    right = np.arange(80) < 30
    evidence = rng.standard_normal((80, 2)) + gap * right[:, None]
    evidence = (evidence - evidence.mean(0)) / evidence.std(0)
    other = LogisticRegression(C=1.0, tol=1e-12, max_iter=1000, solver="newton-cholesky").fit(evidence, right)
    wanted = [*other.coef_[0], other.intercept_[0]]
    np.testing.assert_allclose(logistic(evidence, right), wanted, atol=1e-6)
    # the scale and origin of the evidence change nothing
    moved = logistic(scale * evidence + 3, right)
    np.testing.assert_allclose(
        (scale * evidence + 3) @ moved[:-1] + moved[-1], evidence @ wanted[:-1] + wanted[-1], atol=1e-5
    )


def test_what_tells_gets_weight_and_what_does_not_little() -> None:
    fit = fit_score(overlapping(), TRUTH, ScoreConfig(threshold=0.6), tries=1000)
    assert (fit.pairs, fit.right) == (40, 20)
    assert fit.score.coarse > 1 and abs(0.2 * fit.score.verify) < 0.3 * fit.score.coarse  # by their spreads
    assert fit.score.rerank == 0 and fit.score.threshold == 0.6
    assert fit.score.tries == PER_TRY


def test_coarse_scores_above_the_ceiling_count_no_more_and_the_ceiling_is_kept() -> None:
    low, high = overlapping(), overlapping()
    at = high.schema.get_field_index("coarse_score")
    raised = np.where(np.array(high["coarse_score"]) > 3, 50.0, np.array(high["coarse_score"]))
    high = high.set_column(at, high.schema.field(at), pa.array(raised, high.schema.field(at).type))
    fits = [fit_score(rows, TRUTH, ScoreConfig(coarse_ceiling=3.0), tries=1000).score for rows in (low, high)]
    assert fits[0] == fits[1] and fits[0].coarse_ceiling == 3.0


def test_the_best_row_of_a_pair_counts_and_what_no_protocol_ranks_does_not() -> None:
    rows = [
        ("q0", "r0", 0.9, 7.0, 0.8),
        ("q0", "r0", 0.95, 6.0, 0.9),
        ("q0", "q1", 0.9, 9.0, 0.9),  # another query
        ("elsewhere", "r0", 0.9, 9.0, 0.9),  # no query of the truth
        ("q30", "r1", 0.1, 3.0, 0.1),
    ]
    evidence, right = best_rows(table(rows), TRUTH)
    np.testing.assert_allclose(evidence, [[6.0, 0.9, 0.0, 0.0], [3.0, 0.1, 0.0, 0.0]], atol=1e-6)
    assert right.tolist() == [True, False]


def test_pairs_that_lose_score_to_their_waveforms_are_left_out_of_a_fit() -> None:
    rows = table([(f"q{i}", "r0", 0.9, 7.0, float(i)) for i in (0, 1, 30, 31)])
    at = rows.schema.get_field_index("coherence")
    values = pa.array([COHERENT, None, COHERENT - 0.01, 0.9], pa.float32())
    evidence, right = best_rows(rows.set_column(at, rows.schema.field(at), values), TRUTH)
    assert evidence[:, 1].tolist() == [0.0, 1.0, 31.0] and right.tolist() == [True, True, False]


@pytest.mark.parametrize("queries", [["q0", "q1"], ["q30"], []])
def test_a_fit_needs_right_and_wrong_pairs(queries: list[str]) -> None:
    with pytest.raises(ValueError, match="larger benchmark"):
        fit_score(table([(q, "r0", 0.5, 1.0, 0.5) for q in queries]), TRUTH, ScoreConfig(), 10)


def test_a_catalogue_of_more_tries_takes_their_logarithm_from_the_intercept() -> None:
    few, many = (fit_score(overlapping(), TRUTH, ScoreConfig(), tries).score for tries in (100, 10_000))
    assert many.intercept - many.tries * np.log(10_000) == pytest.approx(few.intercept - few.tries * np.log(100))


@pytest.mark.parametrize("fitted_at", [1e3, 1e7, 1e9, 1e12])
def test_a_fit_at_any_size_gives_the_same_probabilities_there(fitted_at: float) -> None:
    small, large = (fit_score(overlapping(), TRUTH, ScoreConfig(), int(n)).score for n in (100, fitted_at))
    assert large.intercept - large.of_tries(fitted_at) == pytest.approx(small.intercept - small.of_tries(100))
    per_decade = [large.of_tries(10 * n) - large.of_tries(n) for n in (1e5, 1e9)]
    assert per_decade == pytest.approx([PER_TRY * np.log(10)] * 2)


@given(scale=st.floats(0.3, 3), hours=st.floats(0.5, 40), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=20)
def test_at_the_level_there_are_as_many_false_alarms_as_allowed(scale: float, hours: float, seed: int) -> None:
    """Log-odds of 100 wrong pairs per hour are exponential; at the level returned, 0.5 of them remain."""
    wrong = np.random.default_rng(seed).exponential(scale, max(60, int(100 * hours)))
    wanted = scale * np.log(len(wrong) / (MAX_ALARMS_PER_HOUR * hours))
    assert alarm_level(wrong, hours) == pytest.approx(wanted, abs=2.5 * scale)


def test_the_intercept_is_lowered_for_false_alarms_and_queries_of_unknown_length_are_refused() -> None:
    fit = fit_score(overlapping(), TRUTH, ScoreConfig(), 10)
    assert fit.lowered > 0
    unknown = Truth(tuple(Query(f"q{i}") for i in range(40)), TRUTH.references, TRUTH.relations)
    with pytest.raises(ValueError, match="no durations"):
        fit_score(overlapping(), unknown, ScoreConfig(), 10)


def test_reviewed_pairs_give_a_score_that_ranks_them_and_too_few_are_refused() -> None:
    rng = np.random.default_rng(1)
    right = np.arange(60) < 30
    evidence = np.zeros((60, 4))
    evidence[:, 0] = rng.normal(4, 1, 60) + 2 * right
    fit = fit_reviewed(evidence, right, ScoreConfig(), tries=10_000)
    assert fit.score.coarse > 0.5 and fit.score.rerank == 0.0 and fit.lowered == 0.0 and fit.log_loss < 0.6
    chance = fit.score.intercept - PER_TRY * np.log(10_000) + fit.score.coarse * evidence[:, 0]
    assert np.mean(1 / (1 + np.exp(-chance))) == pytest.approx(0.5, abs=0.01)  # as many as were right
    with pytest.raises(ValueError, match="9 confirmed pairs and 30 that are not"):
        fit_reviewed(evidence[21:], right[21:], ScoreConfig(), tries=1)
