"""Calibration curves of well and badly calibrated scores."""

from statistics import NormalDist

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import log_loss as sklearn_log_loss

from asid_core import schema
from asid_core.evaluation.truth import Query, Relation, Truth
from benchmarks.lib.calibration import (
    expected_calibration_error,
    log_loss,
    pair_directions,
    reliability,
    to_markdown,
)


def test_scores_that_mean_what_they_say_have_no_error() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random(50_000)
    bins = reliability(scores, rng.random(50_000) < scores)
    assert sum(one.pairs for one in bins) == 50_000
    assert expected_calibration_error(bins) < 0.01
    assert all(one.interval[0] <= one.right <= one.interval[1] for one in bins)


def test_scores_that_are_too_sure_have() -> None:
    bins = reliability(np.full(10, 0.99), np.arange(10) < 6)
    assert len(bins) == 1 and bins[0].right == 0.6
    assert expected_calibration_error(bins) == pytest.approx(0.39)
    assert "| 0.95 to 1 | 10 | 0.990 | 0.600 [" in to_markdown(bins)


def test_the_ends_belong_to_the_outer_bins() -> None:
    bins = reliability(np.array([0.0, 1.0]), np.array([False, True]))
    assert [(one.low, one.pairs, one.right) for one in bins] == [(0.0, 1, 0.0), (0.95, 1, 1.0)]


def test_log_loss_is_that_of_scikit_learn_and_finite_for_what_is_sure_and_wrong() -> None:
    rng = np.random.default_rng(1)
    scores, right = rng.random(200), rng.random(200) < 0.5
    assert log_loss(scores, right) == pytest.approx(sklearn_log_loss(right, scores))
    assert np.isfinite(log_loss(np.array([1.0]), np.array([False])))


def test_the_interval_of_a_bin_is_wilsons() -> None:
    """Its ends are the shares p from which 15 of 50 lies 1.96 standard errors away."""
    z = NormalDist().inv_cdf(0.975)
    [only] = reliability(np.full(50, 0.3), np.arange(50) < 15)
    for end in only.interval:
        assert abs(0.3 - end) == pytest.approx(z * np.sqrt(end * (1 - end) / 50))


def test_a_direction_counts_from_both_sides() -> None:
    truth = Truth((Query("q"), Query("none")), ("r",), (Relation("q", "r"),))
    rows = [
        {"query_id": query, "reference_id": "references/r.flac", "score": score, "direction": direction}
        for query, score, direction in (("q", 0.9, 0.8), ("q", 0.3, 0.1), ("none", 0.7, 0.4))
    ]
    numbers = [f.name for f in schema.DETECTIONS if f.name.endswith("_s") or f.name.startswith(("tempo", "pitch"))]
    table = pa.Table.from_pylist([row | dict.fromkeys(numbers, 1.0) for row in rows])
    forward, samples = pair_directions(table, truth)
    assert forward.tolist() == pytest.approx([0.8, 0.2]) and samples.tolist() == [True, False]
