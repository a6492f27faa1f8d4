"""Metrics of retrieval and rejection, in the style of mir_eval: functions validate their arguments first.

Conventions
- A **ranking** is what a system returned for one query: `{reference: score}`, higher is better. **Relevant** is the set
  of references that the query samples.
- Ties are broken pessimistically: at equal score, an irrelevant reference comes before a relevant one.
- A relevant reference that was not returned adds 0 to AP and has the last rank.
- `protocol="strict"` ranks all references and divides AP by the number of relevant ones. `protocol="paper"` is the rule
  of the authors' code: distractors are not ranked, and AP is divided by the number of relevant references found.
- A query that samples nothing has no AP, hit rate or rank; it counts only for rejection.
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
    """Raise ValueError if nothing is relevant or a score is not finite."""
    if not relevant:
        raise ValueError("a query that samples nothing has no average precision or rank; leave it to rejection")
    bad = [name for name, score in ranking.items() if not math.isfinite(score)]
    if bad:
        raise ValueError(f"scores must be finite; {bad[0]!r} has {ranking[bad[0]]}")


def validate_labels(labels: Sequence[bool] | npt.NDArray[np.bool_], scores: Sequence[float] | Floats) -> None:
    """Raise ValueError unless there is one finite score for each label."""
    if len(labels) != len(scores):
        raise ValueError(f"{len(labels)} labels but {len(scores)} scores")
    if not np.all(np.isfinite(np.asarray(scores, float))):
        raise ValueError("scores must be finite")


def relevant_ranks(ranking: Mapping[str, float], relevant: Collection[str]) -> list[int]:
    """Ranks, from 1 and ascending, of the relevant references that were returned."""
    validate_ranking(ranking, relevant)
    order = sorted(ranking, key=lambda name: (-ranking[name], name in relevant))
    return [rank for rank, name in enumerate(order, 1) if name in relevant]


def rankable(
    ranking: Mapping[str, float], protocol: Protocol, known_references: Collection[str]
) -> Mapping[str, float]:
    """The part of a ranking that the protocol counts: everything (strict), or only `known_references` (paper).

    Raises ValueError for an unknown protocol.
    """
    if protocol == "strict":
        return ranking
    if protocol != "paper":
        raise ValueError(f"protocol must be 'strict' or 'paper', not {protocol!r}")
    return {name: score for name, score in ranking.items() if name in known_references}


def average_precision(ranking: Mapping[str, float], relevant: Collection[str], protocol: Protocol = "strict") -> float:
    """Average precision: precisions at the ranks of relevant references, averaged over all (strict) or found ones."""
    ranks = relevant_ranks(ranking, relevant)
    precisions = sum(found / rank for found, rank in enumerate(ranks, 1))
    divisor = len(relevant) if protocol == "strict" else max(len(ranks), 1)
    return precisions / divisor


def hit_at(ranking: Mapping[str, float], relevant: Collection[str], k: int) -> float:
    """1.0 if a relevant reference is among the first `k`, else 0.0."""
    return float(any(rank <= k for rank in relevant_ranks(ranking, relevant)))


def normalised_rank(ranking: Mapping[str, float], relevant: Collection[str], num_references: int) -> float:
    """Rank of the best relevant reference, scaled from 0 (first) to 1 (last of `num_references`, or not returned).

    Raises ValueError if more references are ranked than there are.
    """
    ranks = relevant_ranks(ranking, relevant)
    if len(ranking) > num_references:
        raise ValueError(f"{len(ranking)} references ranked, but only {num_references} counted; count distractors too")
    if not ranks or num_references < 2:
        return 0.0 if ranks else 1.0
    return (ranks[0] - 1) / (num_references - 1)


def auroc(labels: Sequence[bool] | npt.NDArray[np.bool_], scores: Sequence[float] | Floats) -> float:
    """Probability that a positive scores above a negative; ties count half (Mann-Whitney). NaN if a class is empty."""
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
    """(precision, recall, threshold), each [number of distinct scores], by descending threshold.

    A score >= threshold counts as positive. Raises ValueError if no label is positive.
    """
    validate_labels(labels, scores)
    if not np.any(labels):
        raise ValueError("recall is not defined without positive labels")
    order = np.argsort(-np.asarray(scores, float), kind="stable")
    values = np.asarray(scores, float)[order]
    hits = np.cumsum(np.asarray(labels, bool)[order])
    last = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)  # equal scores share a threshold
    return hits[last] / (last + 1), hits[last] / hits[-1], values[last]


def area_under_precision_recall(
    labels: Sequence[bool] | npt.NDArray[np.bool_], scores: Sequence[float] | Floats
) -> float:
    """Area under the precision-recall curve: the sum of precision times the increase of recall, not interpolated."""
    precision, recall, _ = precision_recall_curve(labels, scores)
    return float(np.sum(precision * np.diff(recall, prepend=0.0)))


def false_alarms_per_hour(num_wrong: int, audio_s: float) -> float:
    """Number of wrong pairs reported per hour of query audio. Raises ValueError if there is no audio."""
    if audio_s <= 0:
        raise ValueError(f"audio_s must be above 0, not {audio_s}")
    return num_wrong / (audio_s / 3600)
