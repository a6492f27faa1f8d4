"""Applies the reranker to the aligned window pairs of candidates. Computes nodes only for these windows, each once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

import numpy as np
import torch
from torch import Tensor

from asid_core.config import SAMPLE_RATE_HZ
from asid_core.matching.align import Candidate
from asid_core.model.fingerprinter import Fingerprinter
from asid_core.model.reranker import Reranker
from pipelines.search.features import SpanFeatures, TrackFeatures

PAIRS_PER_CANDIDATE = 4  # few, because a GNN encodes only about 30 windows per second and core


@torch.no_grad()
def rerank(
    model: Fingerprinter,
    features: TrackFeatures,
    centres: Tensor,
    spans: SpanFeatures,
    rows: tuple[np.ndarray, np.ndarray],
    candidates: Sequence[Candidate],
    max_pairs: int,
) -> list[Candidate]:
    """The candidates with a `rerank_score`: the mean probability over the strongest window pairs of each.

    It stays None without a reranker, and for candidates after the first `max_pairs` pairs.

    centres: [n] in frames, of the query windows. rows: reference track and centre_s, by row of the reference table.
    """
    if not isinstance(model.reranker, Reranker):
        return list(candidates)
    chosen: list[tuple[int, tuple[int, float, float], int]] = []  # candidate, query window and probe, row
    for at, candidate in enumerate(candidates):
        for window, row in candidate.window_pairs[: min(PAIRS_PER_CANDIDATE, max_pairs - len(chosen))].tolist():
            chosen.append((at, (window, candidate.pitch_semitones, candidate.tempo_ratio), row))
    if not chosen:
        return list(candidates)
    query_keys = list(dict.fromkeys(key for _, key, _ in chosen))
    row_keys = list(dict.fromkeys(row for _, _, row in chosen))
    query = _nodes(model, [_query_patch(model, features.model, centres, *key) for key in query_keys])
    reference = _nodes(model, [_reference_patch(model, spans, rows, row) for row in row_keys])
    pairs = [(query_keys.index(key), row_keys.index(row)) for _, key, row in chosen]
    left, right = (torch.tensor(side) for side in zip(*pairs, strict=True))
    probabilities: dict[int, list[float]] = {}
    for (at, _, _), probability in zip(chosen, model.reranker(query[left], reference[right]).tolist(), strict=True):
        probabilities.setdefault(at, []).append(probability)
    return [
        replace(candidate, rerank_score=fmean(probabilities[at])) if at in probabilities else candidate
        for at, candidate in enumerate(candidates)
    ]


def _nodes(model: Fingerprinter, patches: Sequence[Tensor]) -> Tensor:
    parts = torch.cat(list(patches)).split(model.windows_per_batch)
    nodes = [found for part in parts if (found := model.encoder(part)[1]) is not None]
    return torch.cat(nodes).float()


def _query_patch(
    model: Fingerprinter, features: Tensor, centres: Tensor, window: int, semitones: float, tempo_ratio: float
) -> Tensor:
    """The encoder input [1, bins, frames] of a query window, with the candidate's pitch and tempo undone."""
    semitones, tempo_ratio = model.front_end.nearest_probe(semitones, tempo_ratio)
    reach = int(model.front_end.config.window_frames / 2 / tempo_ratio) + 2
    start = max(0, int(centres[window]) - reach)
    around = features[:, start : int(centres[window]) + reach]
    return model.front_end.probe(around, centres[window : window + 1] - start, [semitones], tempo_ratio)[0]


def _reference_patch(
    model: Fingerprinter, spans: SpanFeatures, rows: tuple[np.ndarray, np.ndarray], row: int
) -> Tensor:
    track, centre_s = int(rows[0][row]), float(rows[1][row])
    start_s = centre_s - model.window_s / 2
    features, origin_s = spans.span(model.front_end, track, start_s, start_s + model.window_s)
    first = round((start_s - origin_s) * SAMPLE_RATE_HZ / model.hop_samples)
    window = features[:, first : first + model.front_end.config.window_frames].float()
    return model.front_end.patches(model.front_end.windows(window))
