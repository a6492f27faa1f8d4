"""Applies the aligned reranker while candidates are verified: it compares query and reference frame by frame."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from asid_core.matching.align import Candidate
from asid_core.matching.matched_filter import MatchedFilter
from asid_core.matching.span import Span
from asid_core.matching.verify import Verified, Verifier
from asid_core.model.aligned_reranker import PATCH, AlignedReranker, aligned_patches

# Windows along the span of a candidate, at least a second apart and a second from its ends. Only the best ones count,
# because the sample may fill only part of the span.
MAX_WINDOWS, BEST_WINDOWS = 5, 3
EDGE_S = 1.0
# Log-odds at the strongest hit that a candidate needs at a glance to be located, and then, if the matched filter
# agrees, to be refined and judged along its span. Chosen on the wild validation benchmark with the weights before those
# of 2026-11-26: no candidate that was right and ended above -1 had less.
WORTH_LOCATING, WORTH_REFINING = -7.0, -4.0
SURE = 0.0  # log-odds with which a candidate is refined although the matched filter does not hear it


def verify(candidates: Sequence[Candidate], verifier: Verifier, reranker: nn.Module | None) -> list[Verified]:
    """Verify candidates, given strongest first. An aligned reranker decides which are worth each further step.

    `rerank_score`: the mean log-odds of the best windows along the span; if a step has rejected the candidate, those
    at its strongest hit; the higher of both for a match that the matched filter does not hear; None without a reranker
    of kind `aligned`.
    """
    if not isinstance(reranker, AlignedReranker):
        return verifier.verify(candidates)
    judge = functools.partial(judged, heard=verifier.filter, reranker=reranker)
    found = judge(verifier.glance(candidates), _strongest_hit)
    found = [verifier.locate(one) if _has(WORTH_LOCATING, one) else one for one in found]
    found = judge(found, lambda one: _strongest_hit(one) if _has(WORTH_LOCATING, one) else [])
    found = [replace(one, is_match=_has(WORTH_REFINING if one.is_match else SURE, one)) for one in found]
    # what the matched filter does not hear comes last, so that it hides no match that it hears
    found.sort(key=lambda one: one.is_match and one.verify_score < verifier.config.min_score)
    refined = verifier.refine(found)
    # the span of what is no match is still the coarse one, and most of it lies beside the sample
    again = judge(refined, lambda one: centres_s(one.span) if one.is_match else [])
    is_heard = [one.verify_score >= verifier.config.min_score for one in refined]
    return [new if heard else _surer(old, new) for heard, old, new in zip(is_heard, refined, again, strict=True)]


def _surer(one: Verified, other: Verified) -> Verified:
    """A span that the matched filter does not hear is uncertain, so it does not count against its strongest hit."""
    scores = [found.candidate.rerank_score for found in (one, other)]
    return replace(other, candidate=replace(other.candidate, rerank_score=max(s for s in scores if s is not None)))


def _has(log_odds: float, found: Verified) -> bool:
    """Whether a judged candidate has at least these log-odds."""
    score = found.candidate.rerank_score
    return score is not None and score >= log_odds


def _strongest_hit(found: Verified) -> list[float]:
    return [found.candidate.query_centre_s]


def judged(
    found: Sequence[Verified],
    looked_at: Callable[[Verified], list[float]],
    heard: MatchedFilter,
    reranker: AlignedReranker,
) -> list[Verified]:
    """The candidates with a new `rerank_score`, unless `looked_at` gives no windows for them.

    looked_at: centres of a candidate's windows, in seconds of the query.
    """
    times_s = [looked_at(one) for one in found]
    windows = [
        laid_over(one.span, times, one.pitch_semitones, one.candidate.reference, heard)
        for one, times in zip(found, times_s, strict=True)
        if times
    ]
    if not windows:
        return list(found)
    queries, references = (torch.cat(side) for side in zip(*windows, strict=True))
    log_odds = iter(reranker.judged(queries, references).split([len(query) for query, _ in windows]))
    return [
        replace(one, candidate=replace(one.candidate, rerank_score=_mean_of_best(next(log_odds)))) if times else one
        for one, times in zip(found, times_s, strict=True)
    ]


def laid_over(
    span: Span, times_s: Sequence[float], pitch_semitones: float, reference: int, heard: MatchedFilter
) -> tuple[Tensor, Tensor]:
    """Patches [n, bins, frames] of the query, pitch and tempo undone, and of a reference, at n times of the query."""
    windows = [_window(span, query_s, pitch_semitones, reference, heard) for query_s in times_s]
    queries, references = (aligned_patches(torch.cat(side)) for side in zip(*windows, strict=True))
    return queries, references


def centres_s(span: Span) -> list[float]:
    """Times spread over a span, in seconds of the query."""
    length_s = span.query_end_s - span.query_start_s
    count = min(int(length_s), MAX_WINDOWS)
    edge_s = min(EDGE_S, length_s / 2)
    if count < 2:
        return [span.query_start_s + length_s / 2]
    return torch.linspace(span.query_start_s + edge_s, span.query_end_s - edge_s, count).tolist()


def _mean_of_best(log_odds: Tensor) -> float:
    return float(log_odds.topk(min(BEST_WINDOWS, len(log_odds))).values.mean())


def _window(
    span: Span, query_s: float, pitch_semitones: float, reference: int, heard: MatchedFilter
) -> tuple[Tensor, Tensor]:
    """Query (pitch and tempo undone) and reference, each [1, bins, frames], around a time of the query."""
    frames = PATCH.window_frames
    reference_s = span.reference_at(query_s)
    middle = round(reference_s / heard.frame_s)
    query_s += (middle * heard.frame_s - reference_s) / span.tempo_ratio  # correct for the rounding
    query = heard.undone(query_s, pitch_semitones, span.tempo_ratio, frames)
    return query, heard.reference(reference, middle - frames // 2, frames)[None]
