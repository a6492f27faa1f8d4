"""Shares of what the exact search finds."""

import sys

import numpy as np
import pytest

from benchmarks.lib.kept import Ranked, exponent, foreseen, needed, places


def ranked(scores: dict[int, float]) -> Ranked:
    best = sorted(scores, key=lambda track: -scores[track])
    return Ranked(np.array(best), np.array([scores[track] for track in best]))


def test_places_count_from_zero_and_the_missing_come_last() -> None:
    some = ranked({4: 1.0, 7: 3.0, 2: 2.0})
    assert places([some, some, some], [7, 4, 5]).tolist() == [0, 2, sys.maxsize]


def test_scores_of_tracks_are_zero_where_nothing_was_found() -> None:
    some = ranked({1: 5.0, 3: 2.0, 9: 1.0})
    assert some.scores_of(0, 5).tolist() == [0, 5, 0, 2, 0]
    assert some.scores_of(0, 5, but=1).tolist() == [0, 0, 2, 0]
    assert some.scores_of(2, 5, but=1).tolist() == [0, 2, 0]


def test_a_score_far_above_the_tail_is_foreseen_and_one_inside_it_is_not() -> None:
    rng = np.random.default_rng(0)
    chance = [dict(enumerate(rng.exponential(size=500).tolist())) for _ in range(3)]
    # of 10^6 tracks, the best 200 exceed ln(5000) = 8.5
    some = [ranked(scores | {500: score}) for scores, score in zip(chance, (30.0, 4.0, 0.0), strict=True)]
    assert foreseen(some, [500] * 3, range(500), 200, 1_000_000).tolist() == [True, False, False]


def test_needed_work_is_interpolated() -> None:
    assert needed([1.0, 4.0, 9.0], [0.85, 1.05, 1.05]) == (pytest.approx(2.0), False)
    assert needed([1.0, 2.0], [0.96, 1.0]) == (1.0, True)
    assert np.isnan(needed([1.0, 2.0], [0.3, 0.9])[0])


def test_needed_work_takes_the_first_point_that_keeps_enough() -> None:
    work, at_most = needed([1.0, 2.0, 4.0, 8.0], [0.5, 0.96, 0.94, 1.0])
    assert 1 < work < 2 and not at_most


def test_exponent() -> None:
    sizes = [1e5, 1e6, 1e7]
    assert exponent(sizes, [s**0.8 for s in sizes]) == pytest.approx(0.8)
    assert exponent(sizes, [float("nan"), 10.0, 100.0]) == pytest.approx(1.0)
    assert np.isnan(exponent(sizes, [float("nan"), 10.0, float("nan")]))
