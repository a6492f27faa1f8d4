"""The fit of the default's score."""

from __future__ import annotations

import math

import numpy as np
import pytest

from asid_core.evaluation.fitting import EVIDENCE, PER_TRY
from benchmarks import fit
from benchmarks.fit import Pairs


def pairs(right_at: float, wrong_at: float, tries: int, hours: float) -> Pairs:
    rng = np.random.default_rng(0)
    right = np.arange(200) < 40
    evidence = np.where(right, right_at, wrong_at)[:, None] + rng.normal(size=(200, len(EVIDENCE)))
    return Pairs(evidence, right, tries, hours)


def log_odds(some: Pairs, coefficients: np.ndarray) -> np.ndarray:
    odds: np.ndarray = some.evidence @ coefficients[:-1] + coefficients[-1] - PER_TRY * math.log(some.tries)
    return odds


@pytest.mark.parametrize("demo_wrong_at", [0.0, 3.0])
def test_no_wrong_pair_of_the_demo_reaches_the_threshold(demo_wrong_at: float) -> None:
    bench, demo = pairs(4.0, 0.0, 10**7, 2.0), pairs(9.0, demo_wrong_at, 10**6, 0.3)
    coefficients = fit.fitted(bench, demo)
    assert log_odds(demo, coefficients)[~demo.right].max() < 0
    assert (log_odds(bench, coefficients)[~bench.right] > 0).sum() <= 2
    assert log_odds(demo, coefficients)[demo.right].min() > 0


def test_well_separated_pairs_do_not_raise_the_intercept() -> None:
    bench, demo = pairs(9.0, -9.0, 10**6, 2.0), pairs(9.0, -9.0, 10**6, 0.3)
    wrong = log_odds(bench, fit.fitted(bench, demo))[~bench.right]
    assert wrong.max() < -2  # it would be 0 if the threshold were moved to the best wrong pair


def test_it_says_which_benchmark_to_make_first(tmp_path: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit.main(["--bench", str(tmp_path)]) == 2
    assert "make -C benchmarks wild-validation" in capsys.readouterr().err
