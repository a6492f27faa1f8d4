"""The aligned reranker on verified candidates."""

from __future__ import annotations

from dataclasses import replace
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from asid_core.config import VerifyConfig
from asid_core.matching.align import Candidate
from asid_core.matching.matched_filter import MatchedFilter, Recording
from asid_core.matching.rerank import MAX_WINDOWS, SURE, WORTH_LOCATING, WORTH_REFINING, centres_s, judged, verify
from asid_core.matching.span import Span
from asid_core.matching.verify import GLANCE_SCORE, Verified, Verifier
from asid_core.model.aligned_reranker import AlignedReranker, aligned_patches
from tests.asid_core.matching.test_verify import FRAME_S, REFERENCE_FRAMES, Serving, notes, pointing

CONFIG = VerifyConfig()


class Cosine(AlignedReranker):
    """Replaces the network by the cosine of the two patches."""

    def __init__(self) -> None:
        nn.Module.__init__(self)

    def forward(self, queries: Tensor, references: Tensor) -> Tensor:
        return (queries * references).flatten(1).sum(1)


def score_of(ratio: float, seconds: float, shift_s: float = 0.0) -> float:
    """The rerank score of a candidate at another tempo whose span lasts `seconds` of the query."""
    song = notes(0)
    reference = song.render(REFERENCE_FRAMES)
    query = song.render(1000, semitones=2.0, start=200.0, ratio=ratio)
    heard = MatchedFilter(Recording(query, 1000 * FRAME_S), Serving((reference,)), CONFIG)
    middle_s = 500 * FRAME_S
    span = Span.around(middle_s, (200 + ratio * 500) * FRAME_S + shift_s, ratio, seconds / 2, seconds / 2)
    at = pointing(middle_s, span.reference_start_s, 2.0, ratio)
    verified = Verified(at, 0.5, 0.1, 2.0, span)
    (one,) = judged([verified], lambda found: centres_s(found.span), heard, Cosine())
    assert replace(one, candidate=replace(one.candidate, rerank_score=None)) == verified
    assert one.candidate.rerank_score is not None
    return one.candidate.rerank_score


def test_both_lie_over_each_other_all_along_the_span() -> None:
    for ratio in (0.8, 1.0, 1.3):
        for seconds in (2.0, 5.9, 6.1, 20.0):
            assert score_of(ratio, seconds) > 0.85
        assert score_of(ratio, 10.0, shift_s=1.3) < 0.6


class Constant(Cosine):
    """Gives every window the same log-odds, and counts windows."""

    def __init__(self, log_odds: float) -> None:
        super().__init__()
        self.log_odds, self.looked = log_odds, 0

    def forward(self, queries: Tensor, references: Tensor) -> Tensor:
        self.looked += len(queries)
        return torch.full((len(queries),), self.log_odds)


def verified(log_odds: float, *candidates: Candidate, sampled: int = 0) -> tuple[list[Verified], int]:
    """What becomes of candidates, and how many windows the reranker has looked at. The query is song 0."""
    song, reference = (notes(seed).render(REFERENCE_FRAMES) for seed in (0, sampled))
    recording, reranker = Recording(song, REFERENCE_FRAMES * FRAME_S), Constant(log_odds)
    return verify(candidates, Verifier(recording, Serving((reference,)), CONFIG), reranker), reranker.looked


def test_the_reranker_decides_which_steps_a_candidate_is_worth() -> None:
    at = pointing(20.0, 20.0, semitones=0.25)
    ((hopeless,), once), ((located,), twice), ((refined,), many) = (
        verified(score, at) for score in (WORTH_LOCATING - 0.1, WORTH_REFINING - 0.1, WORTH_REFINING)
    )
    assert (once, twice, many) == (1, 2, 2 + MAX_WINDOWS)
    assert hopeless.pitch_semitones == 0.25 and abs(located.pitch_semitones) < 0.1
    assert located.verify_score > 0.95 > hopeless.verify_score
    assert (
        located.span.query_end_s - located.span.query_start_s
        < 6
        < refined.span.query_end_s - refined.span.query_start_s
    )
    assert [one.is_match for one in (hopeless, located, refined)] == [False, False, True]
    assert refined.candidate.rerank_score == pytest.approx(WORTH_REFINING)


def test_what_is_no_match_is_judged_at_its_strongest_hit_alone_because_its_span_is_a_guess() -> None:
    ((found,), looked) = verified(SURE - 0.1, pointing(20.0, 20.0), sampled=1)
    assert not found.is_match and looked == 2 and found.candidate.rerank_score == pytest.approx(SURE - 0.1)


class Falling(Cosine):
    """Gives the strongest hit log-odds of 3, and windows along a span -5."""

    def forward(self, queries: Tensor, references: Tensor) -> Tensor:
        return torch.full((len(queries),), 3.0 if len(queries) == 1 else -5.0)


@pytest.mark.parametrize(("sampled", "log_odds"), [(0, -5.0), (1, 3.0)])
def test_a_sure_reranker_makes_a_match_and_an_uncertain_span_does_not_count_against_it(
    sampled: int, log_odds: float
) -> None:
    song, reference = (notes(seed).render(REFERENCE_FRAMES) for seed in (0, sampled))
    verifier = Verifier(Recording(song, REFERENCE_FRAMES * FRAME_S), Serving((reference,)), CONFIG)
    (found,) = verify([pointing(20.0, 20.0)], verifier, Falling())
    assert found.is_match and found.candidate.rerank_score == pytest.approx(log_odds)


def test_a_wrong_pitch_at_the_same_place_does_not_hide_a_match() -> None:
    found, _ = verified(SURE - 0.1, pointing(20.0, 20.0, semitones=4.0), pointing(20.2, 20.2))
    assert [one.is_match for one in found] == [False, True]


@given(st.lists(st.tuples(st.floats(15, 45), st.floats(15, 45)), max_size=4), st.floats(-20, 20))
@settings(max_examples=20)
def test_no_candidate_is_lost_unless_another_covers_it(places: list[tuple[float, float]], log_odds: float) -> None:
    candidates = [replace(pointing(*place), cosine=0.1 * number) for number, place in enumerate(places)]
    found, _ = verified(log_odds, *candidates)
    assert all(one.candidate.rerank_score is not None for one in found)
    kept = {one.candidate.cosine for one in found}
    for candidate in candidates:
        covering = [one.span.query_start_s <= candidate.query_centre_s <= one.span.query_end_s for one in found]
        assert candidate.cosine in kept or any(covering)


def test_every_repeat_is_judged_along_its_own_span() -> None:
    song, silence = notes(0).render(300), torch.zeros(156, 200)
    query = torch.cat([song, silence, song, silence, song], 1)
    seconds = query.shape[1] * FRAME_S
    reranker = Constant(3.0)
    verifier = Verifier(Recording(query, seconds), Serving((song,)), CONFIG)
    found = verify([pointing(6.0, 6.0)], verifier, reranker)
    assert len(found) == 3 and all(one.is_match for one in found)
    assert [one.candidate.rerank_score for one in found] == pytest.approx([3.0] * 3)
    assert reranker.looked == 2 + sum(len(centres_s(one.span)) for one in found)


def test_without_an_aligned_reranker_the_glance_decides() -> None:
    song, other = notes(0).render(REFERENCE_FRAMES), notes(1).render(REFERENCE_FRAMES)
    for reference, is_match in ((song, True), (other, False)):
        verifier = Verifier(Recording(song, REFERENCE_FRAMES * FRAME_S), Serving((reference,)), CONFIG)
        with mock.patch.object(verifier, "locate", wraps=verifier.locate) as locate:
            (one,) = verify([pointing(20.0, 20.0)], verifier, None)
        assert one.is_match == is_match and one.candidate.rerank_score is None
        assert locate.called == is_match
    assert verifier.glance([pointing(20.0, 20.0)])[0].verify_score < GLANCE_SCORE


def test_none_is_none() -> None:
    assert verified(0.0) == ([], 0)
    assert aligned_patches(torch.zeros(0, 156, 100)).shape[0] == 0
