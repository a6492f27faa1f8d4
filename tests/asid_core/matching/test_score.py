"""The score as a function of the evidence and of the number of comparisons."""

import math
from dataclasses import replace

import numpy as np
import pytest

from asid_core.config import COHERENT, INCOHERENT, ScoreConfig
from asid_core.matching.align import Candidate
from asid_core.matching.score import kind, probability
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


def piece(start_s: float, end_s: float, lag_s: float = 0.0, semitones: float = 0.0, ratio: float = 1.0) -> Verified:
    """A match of the query from start_s to end_s, which is lag_s later in the reference."""
    middle_s = (start_s + end_s) / 2
    span = Span.around(middle_s, middle_s + lag_s, ratio, middle_s - start_s, end_s - middle_s)
    return replace(VERIFIED, span=span, pitch_semitones=semitones, is_match=True)


@pytest.mark.parametrize(
    ("places", "query_s", "reference_s"),
    [
        ([piece(0, 60)], 61, 60),
        ([piece(2, 62, lag_s=-2)], 64, 60),
        ([piece(0, 20), piece(21, 40), piece(43, 60)], 61, 61),
        ([piece(0, 60), piece(8, 20, lag_s=16)], 60, 61),  # a loop of it sounds again
        ([piece(0, 290, ratio=1.008), piece(310, 600, lag_s=3.7, ratio=1.008)], 600, 603),
    ],
)
def test_places_on_one_line_that_cover_both_tracks_are_a_duplicate(
    places: list[Verified], query_s: float, reference_s: float
) -> None:
    assert kind(places, query_s, reference_s) == "duplicate"


@pytest.mark.parametrize(
    ("places", "query_s", "reference_s"),
    [
        ([], 60, 60),
        ([piece(0, 40)], 61, 60),
        ([piece(start, start + 10, lag_s=-start) for start in range(0, 60, 10)], 60, 10),  # a whole break, looped
        ([piece(start, start + 10, lag_s=50 - 2 * start) for start in range(0, 60, 10)], 60, 60),  # in another order
        ([piece(0, 60, semitones=0.5)], 60, 60),
        ([piece(0, 57, ratio=1.05)], 57, 60),
        ([replace(piece(0, 60), is_match=False)], 60, 60),
    ],
)
def test_anything_less_is_a_sample(places: list[Verified], query_s: float, reference_s: float) -> None:
    assert kind(places, query_s, reference_s) == "sample"
