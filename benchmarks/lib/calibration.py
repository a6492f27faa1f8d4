"""Calibration: is a share of 0.8 of the pairs with a score of 0.8 right?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.stats import binomtest

from asid_core.evaluation.evaluate import read_pairs
from asid_core.evaluation.metrics import Floats
from asid_core.evaluation.statistics import LEVEL
from asid_core.evaluation.truth import Truth

EDGES = (0.0, 0.05, 0.2, 0.5, 0.8, 0.95, 1.0)  # wide in the middle, where there are few pairs
SURE = 1e-6  # keeps the log loss of a score of exactly 0 or 1 finite


@dataclass(frozen=True)
class Bin:
    """The pairs with a score in [low, high): their number, mean score, and the share that is right."""

    low: float
    high: float
    pairs: int
    mean_score: float
    right: float
    interval: tuple[float, float]  # 95 % Wilson interval of `right`


def pair_scores(detections: pa.Table, truth: Truth) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Best score of every (query, reference) pair, float [n], and whether the pair is right, bool [n]."""
    relevant = truth.relevant()
    best = [
        (max(row.score for row in rows), name in relevant[query])
        for query, references in read_pairs(detections, truth).items()
        for name, rows in references.items()
    ]
    return np.array([score for score, _ in best]), np.array([right for _, right in best], bool)


def pair_directions(detections: pa.Table, truth: Truth) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Probability that the query samples the reference, and whether it does, of true pairs with a direction.

    Every pair counts twice, once from each side, because the query of a benchmark is always the sampler. Float [2n] and
    bool [2n].
    """
    relevant = truth.relevant()
    known = [
        max(rows, key=lambda row: row.score).direction
        for query, references in read_pairs(detections, truth).items()
        for name, rows in references.items()
        if name in relevant[query]
    ]
    forward = np.array([direction for direction in known if direction is not None])
    return np.concatenate([forward, 1 - forward]), np.arange(2 * len(forward)) < len(forward)


def reliability(scores: Floats, right: npt.NDArray[np.bool_]) -> list[Bin]:
    """The non-empty bins between EDGES for scores [n] in 0..1 and `right` [n]."""
    which = np.clip(np.digitize(scores, EDGES[1:-1]), 0, len(EDGES) - 2)
    result = []
    for i in np.unique(which):
        inside = which == i
        n, count = int(inside.sum()), int(right[inside].sum())
        low, high = binomtest(count, n).proportion_ci(LEVEL, method="wilson")
        result.append(Bin(EDGES[i], EDGES[i + 1], n, float(scores[inside].mean()), count / n, (low, high)))
    return result


def expected_calibration_error(bins: list[Bin]) -> float:
    """Mean distance between mean score and share of right pairs, weighted by the number of pairs."""
    total = sum(one.pairs for one in bins)
    return sum(one.pairs * abs(one.mean_score - one.right) for one in bins) / total


def log_loss(scores: Floats, right: npt.NDArray[np.bool_]) -> float:
    """Mean negative log likelihood per pair, in nats."""
    sure = np.clip(scores, SURE, 1 - SURE)
    return float(-np.log(np.where(right, sure, 1 - sure)).mean())


def to_markdown(bins: list[Bin]) -> str:
    lines = ["| score | pairs | mean score | right |", "|---|---|---|---|"]
    for one in bins:
        low, high = one.interval
        lines.append(
            f"| {one.low:g} to {one.high:g} | {one.pairs} | {one.mean_score:.3f} | {one.right:.3f} "
            f"[{low:.3f}, {high:.3f}] |"
        )
    return "\n".join(lines) + "\n"
