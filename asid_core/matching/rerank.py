"""Applies the aligned reranker to verified candidates: a network that compares query and reference frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from asid_core.matching.matched_filter import MatchedFilter
from asid_core.matching.verify import Verified
from asid_core.model.aligned_reranker import PATCH, AlignedReranker, aligned_patches

# Windows along the span of a candidate, at least a second apart and a second from its ends. Only the best ones count,
# because the sample may fill only part of the span.
MAX_WINDOWS, BEST_WINDOWS = 9, 3
EDGE_S = 1.0
PAIRS_PER_BATCH = 64


@torch.no_grad()
def reranked(found: Sequence[Verified], heard: MatchedFilter, reranker: nn.Module | None) -> list[Verified]:
    """The same candidates with a `rerank_score`: the mean log-odds of the best windows of their span.

    Unchanged without a reranker of kind `aligned`. `heard`: gives the features of the query and of the references.
    """
    if not isinstance(reranker, AlignedReranker):
        return list(found)
    pairs, counts = [], []
    for one in found:
        shares = _shares(one.span.query_end_s - one.span.query_start_s)
        pairs += [_window(one, share, heard) for share in shares]
        counts.append(len(shares))
    if not pairs:
        return []
    queries, references = (aligned_patches(torch.cat(side)) for side in zip(*pairs, strict=True))
    batches = zip(queries.split(PAIRS_PER_BATCH), references.split(PAIRS_PER_BATCH), strict=True)
    log_odds = torch.cat([reranker(*batch) for batch in batches]).split(counts)
    return [
        replace(one, candidate=replace(one.candidate, rerank_score=_mean_of_best(windows)))
        for one, windows in zip(found, log_odds, strict=True)
    ]


def _shares(span_s: float) -> list[float]:
    """Positions of the windows in a span: 0 is its start, 1 its end."""
    count = min(int(span_s), MAX_WINDOWS)
    edge = min(EDGE_S / span_s, 0.5) if span_s else 0.5
    return torch.linspace(edge, 1 - edge, count).tolist() if count > 1 else [0.5]


def _mean_of_best(log_odds: Tensor) -> float:
    return float(log_odds.topk(min(BEST_WINDOWS, len(log_odds))).values.mean())


def _window(found: Verified, share: float, heard: MatchedFilter) -> tuple[Tensor, Tensor]:
    """Query (pitch and tempo undone) and reference, each [1, bins, frames], around the position `share` of a span."""
    span, frames = found.span, PATCH.window_frames
    query_s = span.query_start_s + share * (span.query_end_s - span.query_start_s)
    reference_s = span.reference_start_s + share * (span.reference_end_s - span.reference_start_s)
    middle = round(reference_s / heard.frame_s)
    query_s += (middle * heard.frame_s - reference_s) / found.tempo_ratio  # correct for the rounding
    query = heard.undone(query_s, found.pitch_semitones, found.tempo_ratio, frames)
    return query, heard.reference(found.candidate.reference, middle - frames // 2, frames)[None]
