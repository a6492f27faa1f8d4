import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from asid_core.evaluation import metrics

RANKING = {"a": 0.9, "b": 0.8, "c": 0.7, "d": 0.1}

distinct_scores = st.lists(st.integers(0, 10**6), min_size=2, max_size=30, unique=True)


def test_average_precision_by_hand() -> None:
    assert metrics.average_precision(RANKING, {"a", "c"}) == pytest.approx((1 + 2 / 3) / 2)
    assert metrics.average_precision(RANKING, {"d"}) == pytest.approx(1 / 4)


def test_what_was_not_returned_is_charged_by_strict_and_forgiven_by_paper() -> None:
    assert metrics.average_precision(RANKING, {"a", "missing"}) == pytest.approx(0.5)
    assert metrics.average_precision(RANKING, {"a", "missing"}, "paper") == 1.0
    assert metrics.average_precision({}, {"a"}) == 0.0 == metrics.average_precision({}, {"a"}, "paper")
    assert metrics.normalised_rank(RANKING, {"missing"}, 100) == 1.0


def test_a_cut_off_lowers_average_precision() -> None:
    full = metrics.average_precision(RANKING, {"a", "d"})
    assert metrics.average_precision({"a": 0.9, "b": 0.8}, {"a", "d"}) < full


def test_ties_go_against_the_system() -> None:
    flat = dict.fromkeys("abcdefghij", 0.5)
    assert metrics.relevant_ranks(flat, {"a"}) == [10]
    assert metrics.hit_at(flat, {"a"}, 9) == 0.0 and metrics.hit_at(flat, {"a"}, 10) == 1.0
    assert metrics.normalised_rank(flat, {"a"}, 10) == 1.0


def test_paper_protocol_never_ranks_noise_tracks() -> None:
    ranking = {"noise": 0.9, "a": 0.8}
    assert metrics.average_precision(metrics.rankable(ranking, "strict", {"a"}), {"a"}) == 0.5
    assert metrics.average_precision(metrics.rankable(ranking, "paper", {"a"}), {"a"}, "paper") == 1.0
    with pytest.raises(ValueError, match="protocol"):
        metrics.rankable(ranking, "loose", {"a"})  # type: ignore[arg-type]


@given(distinct_scores, st.data())
def test_average_precision_agrees_with_scikit_learn(scores: list[int], data: st.DataObject) -> None:
    labels = data.draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores)).filter(any))
    ranking = {str(i): float(s) for i, s in enumerate(scores)}
    relevant = {str(i) for i, label in enumerate(labels) if label}
    ours = metrics.average_precision(ranking, relevant)
    assert ours == pytest.approx(average_precision_score(labels, scores))
    assert ours == pytest.approx(metrics.average_precision(ranking, relevant, "paper"))  # everything was returned
    best = metrics.normalised_rank(ranking, relevant, len(ranking))
    assert 0 <= best <= 1 and (best == 0) == bool(metrics.hit_at(ranking, relevant, 1))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=40))
def test_auroc_and_curve_agree_with_scikit_learn_ties_included(rows: list[tuple[bool, int]]) -> None:
    labels, scores = [r[0] for r in rows], [float(r[1]) for r in rows]
    if len(set(labels)) < 2:
        assert math.isnan(metrics.auroc(labels, scores))
        return
    assert metrics.auroc(labels, scores) == pytest.approx(roc_auc_score(labels, scores))
    assert metrics.area_under_precision_recall(labels, scores) == pytest.approx(average_precision_score(labels, scores))
    precision, recall, thresholds = metrics.precision_recall_curve(labels, scores)
    theirs = precision_recall_curve(labels, scores)
    np.testing.assert_allclose(precision[::-1], theirs[0][:-1])
    np.testing.assert_allclose(recall[::-1], theirs[1][:-1])
    np.testing.assert_allclose(thresholds[::-1], theirs[2])


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="samples nothing"):
        metrics.average_precision(RANKING, set())
    with pytest.raises(ValueError, match="finite"):
        metrics.average_precision({"a": math.nan}, {"a"})
    with pytest.raises(ValueError, match="count distractors"):
        metrics.normalised_rank(RANKING, {"a"}, 3)
    with pytest.raises(ValueError, match="2 labels but 1"):
        metrics.auroc([True, False], [0.5])
    with pytest.raises(ValueError, match="without positive labels"):
        metrics.precision_recall_curve([False], [0.1])
    with pytest.raises(ValueError, match="audio"):
        metrics.false_alarms_per_hour(1, 0)
    assert metrics.false_alarms_per_hour(3, 5400) == 2.0
