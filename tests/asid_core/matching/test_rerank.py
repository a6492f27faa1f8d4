"""The aligned reranker on verified candidates."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from asid_core.config import VerifyConfig
from asid_core.matching.matched_filter import MatchedFilter, Recording
from asid_core.matching.rerank import MAX_WINDOWS, reranked
from asid_core.matching.span import Span
from asid_core.matching.verify import GLANCE_SCORE, Verified
from asid_core.model.aligned_reranker import AlignedReranker, aligned_patches
from tests.asid_core.matching.test_verify import FRAME_S, REFERENCE_FRAMES, Serving, notes, pointing

CONFIG = VerifyConfig()


class Cosine(AlignedReranker):
    """Replaces the network by the cosine of the two patches."""

    def __init__(self) -> None:
        nn.Module.__init__(self)

    def forward(self, queries: Tensor, references: Tensor) -> Tensor:
        return (queries * references).flatten(1).sum(1)


def judged(ratio: float, seconds: float, shift_s: float = 0.0) -> float:
    """The rerank score of a candidate at another tempo whose span lasts `seconds` of the query."""
    song = notes(0)
    reference = song.render(REFERENCE_FRAMES)
    query = song.render(1000, semitones=2.0, start=200.0, ratio=ratio)
    heard = MatchedFilter(Recording(query, 1000 * FRAME_S), Serving((reference,)), CONFIG)
    middle_s = 500 * FRAME_S
    span = Span.around(middle_s, (200 + ratio * 500) * FRAME_S + shift_s, ratio, seconds / 2, seconds / 2)
    at = pointing(middle_s, span.reference_start_s, 2.0, ratio)
    verified = Verified(at, 0.5, 0.1, 2.0, span)
    (one,) = reranked([verified], heard, Cosine())
    assert replace(one, candidate=replace(one.candidate, rerank_score=None)) == verified
    assert one.candidate.rerank_score is not None
    return one.candidate.rerank_score


def test_both_lie_over_each_other_all_along_the_span() -> None:
    for ratio in (0.8, 1.0, 1.3):
        for seconds in (2.0, 5.9, 6.1, 20.0):
            assert judged(ratio, seconds) > 0.85
        assert judged(ratio, 10.0, shift_s=1.3) < 0.6


def test_a_candidate_that_a_glance_rejected_is_looked_at_once_at_its_strongest_hit() -> None:
    looked: list[int] = []

    class Counting(Cosine):
        def forward(self, queries: Tensor, references: Tensor) -> Tensor:
            looked.append(len(queries))
            return super().forward(queries, references)

    song = notes(0).render(REFERENCE_FRAMES)
    heard = MatchedFilter(Recording(song, REFERENCE_FRAMES * FRAME_S), Serving((song,)), CONFIG)
    span = Span(4.0, 24.0, 4.0, 1.0)
    found = Verified(pointing(10.0, 10.0, 0.0, 1.0), 0.5, 0.1, 0.0, span)
    for score, windows in ((0.5, MAX_WINDOWS), (GLANCE_SCORE - 0.01, 1)):
        (one,) = reranked([replace(found, verify_score=score)], heard, Counting())
        assert looked.pop() == windows and one.candidate.rerank_score == pytest.approx(1, abs=1e-4)


def test_none_is_none() -> None:
    song = notes(0).render(REFERENCE_FRAMES)
    heard = MatchedFilter(Recording(song, 60.0), Serving((song,)), CONFIG)
    assert reranked([], heard, Cosine()) == []
    assert aligned_patches(torch.zeros(0, 156, 100)).shape[0] == 0
