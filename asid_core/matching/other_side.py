"""A pair seen from its other side: where the reference samples the query, the query's places are looked for in it.

A verifier finds all places of a query that play the same seconds of a reference, so its query must be the sampler.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from asid_core.config import VerifyConfig
from asid_core.matching.align import Candidate
from asid_core.matching.matched_filter import OneTrack, Recording
from asid_core.matching.rerank import verify
from asid_core.matching.span import Span
from asid_core.matching.verify import Verified, Verifier


def seen_from_reference(
    found: Sequence[Verified],
    query: Recording,
    reference: Recording,
    config: VerifyConfig,
    reranker: nn.Module | None,
) -> list[Verified]:
    """The verified places of one pair, verified again with `reference` as the query and `query` as its reference 0."""
    candidates = sorted((_turned(one) for one in found), key=lambda one: -one.coarse_score)
    return verify(candidates, Verifier(reference, OneTrack(query), config), reranker)


def without_alternatives(found: Sequence[Verified], most: int) -> list[Verified]:
    """The places of one pair, without more than `most` for the same seconds of the query: a source repeats itself."""
    kept: list[Verified] = []
    for one in found:
        centre_s = one.candidate.query_centre_s
        same = sum(known.span.query_start_s < centre_s < known.span.query_end_s for known in kept)
        if same < most:
            kept.append(one)
    return kept


def _turned(found: Verified) -> Candidate:
    """A verified place as a candidate with query and reference swapped."""
    span, candidate = found.span, found.candidate
    return replace(
        candidate,
        reference=0,
        pitch_semitones=-found.pitch_semitones,
        tempo_ratio=1 / span.tempo_ratio,
        query_centre_s=candidate.reference_centre_s,
        reference_centre_s=candidate.query_centre_s,
        span=Span(span.reference_start_s, span.reference_end_s, span.query_start_s, 1 / span.tempo_ratio),
    )
