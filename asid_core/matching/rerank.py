"""Applies the aligned reranker to verified candidates: a network that compares query and reference frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from asid_core.matching.matched_filter import MatchedFilter
from asid_core.matching.span import Span
from asid_core.matching.verify import GLANCE_SCORE, Verified
from asid_core.model.aligned_reranker import PATCH, AlignedReranker, aligned_patches

# Windows along the span of a candidate, at least a second apart and a second from its ends. Only the best ones count,
# because the sample may fill only part of the span. A candidate that a glance has rejected gets one window, at its
# strongest hit: the audio around it is in memory, and most candidates are of this kind.
MAX_WINDOWS, BEST_WINDOWS = 5, 3
EDGE_S = 1.0


def reranked(found: Sequence[Verified], heard: MatchedFilter, reranker: nn.Module | None) -> list[Verified]:
    """The same candidates with a `rerank_score`: the mean log-odds of the best windows of their span.

    Unchanged without a reranker of kind `aligned`. `heard`: gives the features of the query and of the references.
    """
    if not isinstance(reranker, AlignedReranker):
        return list(found)
    if not found:
        return []
    laid = [laid_over(one.span, _looked_at(one), one.pitch_semitones, one.candidate.reference, heard) for one in found]
    queries, references = (torch.cat(side) for side in zip(*laid, strict=True))
    log_odds = reranker.judged(queries, references).split([len(windows) for windows, _ in laid])
    return [
        replace(one, candidate=replace(one.candidate, rerank_score=_mean_of_best(windows)))
        for one, windows in zip(found, log_odds, strict=True)
    ]


def _looked_at(found: Verified) -> list[float]:
    """Where the windows of a candidate are centred, in seconds of the query."""
    rejected = found.verify_score < GLANCE_SCORE
    return [found.candidate.query_centre_s] if rejected else centres_s(found.span)


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
