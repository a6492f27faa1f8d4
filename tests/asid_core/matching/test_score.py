"""The score as a function of the evidence and of the number of comparisons."""

import math
from dataclasses import replace

import numpy as np
import pytest

from asid_core.config import COHERENT, INCOHERENT, MANY_TRIES, ScoreConfig
from asid_core.matching.align import Candidate
from asid_core.matching.score import probability
from asid_core.matching.span import Span
from asid_core.matching.verify import Verified

SPAN = Span(3.0, 7.0, 3.0, 1.0)
VERIFIED = Verified(
    Candidate(0, 0.0, 1.0, 5.0, 5.0, SPAN, 5.0, 19.0, 0.5, np.zeros((1, 2), np.int64)), 0.5, 0.2, 0.0, SPAN
)


def log_odds(tries: int, config: ScoreConfig) -> float:
    score = probability(VERIFIED, tries, config)
    return math.log(score / (1 - score))


def test_log_odds_fall_with_the_logarithm_of_the_tries() -> None:
    config = ScoreConfig(tries=0.7)
    assert log_odds(1000, config) - log_odds(100_000, config) == pytest.approx(0.7 * math.log(100))
    assert log_odds(0, config) == log_odds(1, config)  # an empty catalogue is no error


def test_of_very_many_tries_each_counts_half_without_a_step() -> None:
    config = ScoreConfig(tries=0.7)
    many = round(MANY_TRIES)
    assert log_odds(many, config) - log_odds(100 * many, config) == pytest.approx(0.35 * math.log(100))
    assert log_odds(many, config) == pytest.approx(log_odds(many + 1, config), abs=1e-6)


def test_tries_do_not_matter_where_the_model_gives_them_no_coefficient() -> None:
    assert log_odds(10, ScoreConfig(tries=0.0)) == log_odds(10**9, ScoreConfig(tries=0.0))


def test_only_what_is_unchanged_and_incoherent_loses_log_odds() -> None:
    config = ScoreConfig(incoherent=3.0)

    def lost(coherence: float | None) -> float:
        score = probability(replace(VERIFIED, coherence=coherence), 1, config)
        return log_odds(1, config) - math.log(score / (1 - score))

    assert [lost(c) for c in (None, COHERENT, 1.0)] == [0.0, 0.0, 0.0]
    assert [lost(c) for c in (INCOHERENT, 0.0)] == pytest.approx([3.0, 3.0])
    assert lost((COHERENT + INCOHERENT) / 2) == pytest.approx(1.5)


def test_a_coarse_score_above_the_ceiling_counts_no_more() -> None:
    assert log_odds(1, ScoreConfig(coarse=1.0, coarse_ceiling=4.5)) == pytest.approx(
        log_odds(1, ScoreConfig(coarse=0.9))
    )
