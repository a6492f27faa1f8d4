"""Retrieval and rejection, in the manner of mir_eval: conventions first, arguments checked first, then functions.

Conventions
- A **ranking** is what a system returned for one query: `{reference: score}`, higher is better. **Relevant** is the set
  of references the query samples.
- Ties are broken pessimistically: at equal score an irrelevant reference comes before a relevant one. So a system that
  gives everything one score gets the worst it could get, never the luck of an order.
- What is not returned is charged: a relevant reference that is missing adds 0 to AP and has the last rank.
- `protocol="strict"` ranks everything and divides AP by all relevant references. `protocol="paper"` is the rule of the
  authors' code: noise tracks (references nobody samples) are never ranked, and AP is divided by the relevant found.
- A query that samples nothing has no AP, hit rate or rank; it counts for rejection alone.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

Protocol = Literal["strict", "paper"]
Floats = npt.NDArray[np.float64]


def validate_ranking(ranking: Mapping[str, float], relevant: Collection[str]) -> None:
    """Raises ValueError where nothing is relevant or a score is not a finite number."""
    if not relevant:
        raise ValueError("a query that samples nothing has no average precision or rank; leave it to rejection")
    bad = [name for name, score in ranking.items() if not math.isfinite(score)]
    if bad:
        raise ValueError(f"scores must be finite; {bad[0]!r} has {ranking[bad[0]]}")


def validate_labels(labels: Sequence[bool] | npt.NDArray[np.bool_], scores: Sequence[float] | Floats) -> None:
    """Raises ValueError unless there is one finite score for each label."""
    if len(labels) != len(scores):
        raise ValueError(f"{len(labels)} labels but {len(scores)} scores")
    if not np.all(np.isfinite(np.asarray(scores, float))):
        raise ValueError("scores must be finite")


def relevant_ranks(ranking: Mapping[str, float], relevant: Collection[str]) -> list[int]:
    """Ranks (from 1, ties pessimistic) of the relevant references that were returned, ascending."""
    validate_ranking(ranking, relevant)
    order = sorted(ranking, key=lambda name: (-ranking[name], name in relevant))
    return [rank for rank, name in enumerate(order, 1) if name in relevant]


def rankable(
    ranking: Mapping[str, float], protocol: Protocol, known_references: Collection[str]
) -> Mapping[str, float]:
    """What the protocol ranks: everything, or (paper) only the references somebody samples."""
    if protocol == "strict":
        return ranking
    if protocol != "paper":
        raise ValueError(f"protocol is 'strict' or 'paper', not {protocol!r}")
    return {name: score for name, score in ranking.items() if name in known_references}


def average_precision(ranking: Mapping[str, float], relevant: Collection[str], protocol: Protocol = "strict") -> float:
    """Mean of the precisions at the ranks of relevant references; over all of them (strict) or the found (paper)."""
    ranks = relevant_ranks(ranking, relevant)
    precisions = sum(found / rank for found, rank in enumerate(ranks, 1))
    divisor = len(relevant) if protocol == "strict" else max(len(ranks), 1)
    return precisions / divisor


def hit_at(ranking: Mapping[str, float], relevant: Collection[str], k: int) -> float:
    """1.0 where a relevant reference is among the first `k`, else 0.0."""
    return float(any(rank <= k for rank in relevant_ranks(ranking, relevant)))


def normalised_rank(ranking: Mapping[str, float], relevant: Collection[str], num_references: int) -> float:
    """Rank of the best relevant reference among `num_references`: 0 first, 1 last; 1 where none was returned."""
    ranks = relevant_ranks(ranking, relevant)
    if len(ranking) > num_references:
        raise ValueError(f"{len(ranking)} references ranked of {num_references}: count the noise tracks as well")
    if not ranks or num_references < 2:
        return 0.0 if ranks else 1.0
    return (ranks[0] - 1) / (num_references - 1)


def auroc(labels: Sequence[bool] | npt.NDArray[np.bool_], scores: Sequence[float] | Floats) -> float:
    """Chance that a positive scores above a negative, ties half (Mann-Whitney). NaN where one class is missing."""
    validate_labels(labels, scores)
    positive = np.asarray(labels, bool)
    values = np.asarray(scores, float)
    n_pos, n_neg = int(positive.sum()), int((~positive).sum())
    if not n_pos or not n_neg:
        return math.nan
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    mid_ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((mid_ranks[positive].sum() - n_pos * (n_pos + 1) / 2) / (n_pos * n_neg))


def precision_recall_curve(
    labels: Sequence[bool] | npt.NDArray[np.bool_], scores: Sequence[float] | Floats
) -> tuple[Floats, Floats, Floats]:
    """(precision, recall, threshold), each [number of distinct scores], thresholds falling: positive is score >= it.

    Raises ValueError where no label is positive.
    """
    validate_labels(labels, scores)
    if not np.any(labels):
        raise ValueError("no positive label: recall is not defined")
    order = np.argsort(-np.asarray(scores, float), kind="stable")
    values = np.asarray(scores, float)[order]
    hits = np.cumsum(np.asarray(labels, bool)[order])
    last = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)  # a threshold takes all of equal score
    return hits[last] / (last + 1), hits[last] / hits[-1], values[last]


def area_under_precision_recall(
    labels: Sequence[bool] | npt.NDArray[np.bool_], scores: Sequence[float] | Floats
) -> float:
    """Average precision of the curve: the sum of precision times the growth of recall (no interpolation)."""
    precision, recall, _ = precision_recall_curve(labels, scores)
    return float(np.sum(precision * np.diff(recall, prepend=0.0)))


def false_alarms_per_hour(num_wrong: int, audio_s: float) -> float:
    """Wrong (query, reference) pairs reported, for each hour of query audio. Raises ValueError without audio."""
    if audio_s <= 0:
        raise ValueError(f"needs audio to count by, not {audio_s} s")
    return num_wrong / (audio_s / 3600)
