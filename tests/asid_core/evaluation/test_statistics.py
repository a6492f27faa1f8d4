import numpy as np
import pytest

from asid_core.evaluation import statistics


def test_the_interval_holds_the_mean_and_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for trial in range(200):
        figure = statistics.mean_figure(rng.random(60), seed=trial)
        held += figure.low <= 0.5 <= figure.high
    assert 180 <= held <= 199  # 95 % of 200, less the little a percentile bootstrap of 60 gives away


def test_more_queries_narrow_it_and_the_seed_decides() -> None:
    values = np.random.default_rng(1).random(400)
    few, many = statistics.mean_figure(values[:40]), statistics.mean_figure(values)
    assert many.high - many.low < (few.high - few.low) / 2
    assert statistics.mean_figure(values, 3) == statistics.mean_figure(values, 3) != statistics.mean_figure(values, 4)


def test_nan_is_left_out_and_nothing_is_nothing() -> None:
    figure = statistics.median_figure([1.0, np.nan, 3.0, 2.0])
    assert (figure.value, figure.n) == (2.0, 3)
    assert statistics.mean_figure([np.nan]).n == 0 and str(statistics.mean_figure([])) == "-"


def test_figure_leaves_out_resamples_without_a_value() -> None:
    figure = statistics.figure(lambda i: float(i.max()) if i.min() == 0 else np.nan, 4)
    assert figure.value == 3 and 0 <= figure.low <= figure.high <= 3


def test_paired_sees_a_small_steady_difference_that_intervals_overlap_on() -> None:
    base = np.random.default_rng(2).random(80)
    better = statistics.paired(base + 0.02, base)
    assert better.low > 0 and better.difference == pytest.approx(0.02) and better.p_value < 0.01
    same = statistics.paired(base, base)
    assert same.low == same.high == 0 and same.p_value == 1.0
    back = statistics.paired(base, base + 0.02)
    assert back.difference == pytest.approx(-0.02) and back.p_value < 0.01


def test_p_values_of_no_difference_are_not_small_too_often() -> None:
    rng = np.random.default_rng(3)
    small = sum(statistics.paired(rng.random(30), rng.random(30), seed=i).p_value < 0.05 for i in range(200))
    assert small <= 20


def test_paired_refuses_other_queries() -> None:
    with pytest.raises(ValueError, match="one value per query"):
        statistics.paired([1.0], [1.0, 2.0])
