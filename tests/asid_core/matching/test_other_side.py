"""A pair seen from the side of its reference."""

from __future__ import annotations

import pytest
import torch

from asid_core.config import VerifyConfig
from asid_core.matching.matched_filter import Recording
from asid_core.matching.other_side import seen_from_reference, without_alternatives
from asid_core.matching.rerank import verify
from asid_core.matching.span import Span
from asid_core.matching.verify import Verified, Verifier
from tests.asid_core.matching.test_rerank import Constant
from tests.asid_core.matching.test_verify import BINS, FRAME_S, Serving, notes, pointing

CONFIG = VerifyConfig()


def recording(features: torch.Tensor) -> Recording:
    return Recording(features, features.shape[1] * FRAME_S)


def test_all_plays_of_a_source_are_found_in_its_sampler_and_judged_that_way_round() -> None:
    source, silence = notes(0).render(500), torch.zeros(BINS, 150)
    passage = source[:, 100:400]
    sampler = torch.cat([silence, passage, silence, passage, silence], 1)
    starts_s = [150 * FRAME_S, 600 * FRAME_S]
    at = pointing(10.0, 10.0 - 4.0 + starts_s[0])
    found = verify([at], Verifier(recording(source), Serving((sampler,)), CONFIG), Constant(1.0))
    assert all(one.is_match for one in found)
    seen = seen_from_reference(found, recording(source), recording(sampler), CONFIG, Constant(2.0))
    assert sorted(one.span.query_start_s for one in seen) == pytest.approx(starts_s, abs=0.5)
    assert [one.span.reference_start_s for one in seen] == pytest.approx([4.0, 4.0], abs=0.5)
    assert [one.candidate.rerank_score for one in seen] == pytest.approx([2.0, 2.0])  # not those of the other side


def test_few_places_are_kept_for_the_same_seconds_of_the_query() -> None:
    def place(query_s: float, reference_s: float) -> Verified:
        return Verified(pointing(query_s, reference_s), 0.5, 0.1, 0.0, Span(query_s - 3, query_s + 3, reference_s, 1.0))

    here, there = [place(10.0, 5.0 + 10 * i) for i in range(3)], place(30.0, 5.0)
    assert without_alternatives([*here, there], 2) == [*here[:2], there]
