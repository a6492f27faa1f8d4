"""The logistic model of the final score (config.Score), fitted to the detections of a benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from asid_core.config import ScoreConfig
from asid_core.evaluation.evaluate import read_pairs
from asid_core.evaluation.metrics import Floats
from asid_core.evaluation.truth import Truth, track_name

EVIDENCE = ("coarse_score", "verify_score", "verify_margin", "rerank_score")
# Of the standardised coefficients: a benchmark whose right and wrong pairs do not overlap would have infinite ones
RIDGE = 1.0
STEPS, ENOUGH = 100, 1e-9


@dataclass(frozen=True)
class Fit:
    """The fitted section, the (query, reference) pairs behind it, and its mean negative log likelihood on them."""

    score: ScoreConfig
    pairs: int
    right: int
    log_loss: float


def fit_score(detections: pa.Table, truth: Truth, threshold: float) -> Fit:
    """Fit to the best row of each (query, reference) pair of `detections` (schema.DETECTIONS, low scores included).

    Evidence that no row has (a model without reranker) gets the coefficient 0; `threshold` is passed on. Raises
    ValueError where all pairs are right or all are wrong.
    """
    evidence, right = best_rows(detections, truth)
    if not 0 < right.sum() < len(right):
        raise ValueError(
            f"{int(right.sum())} of {len(right)} detected pairs are right: a fit needs right and wrong ones; "
            "give a larger benchmark"
        )
    coefficients = logistic(evidence, right)
    coarse, verify, margin, rerank, intercept = (float(c) for c in coefficients)
    logits = evidence @ coefficients[:-1] + coefficients[-1]
    loss = float(np.mean(np.logaddexp(0, np.where(right, -logits, logits))))
    return Fit(ScoreConfig(intercept, coarse, verify, margin, rerank, threshold), len(right), int(right.sum()), loss)


def best_rows(detections: pa.Table, truth: Truth) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """EVIDENCE of each pair's best row [pairs, 4], missing values as 0, and whether the pair is right [pairs]."""
    pairs, relevant = read_pairs(detections, truth), truth.relevant()
    best: dict[tuple[str, str], tuple[float, Sequence[float]]] = {}
    columns = (detections.column(name).to_pylist() for name in ("query_id", "reference_id", "score", *EVIDENCE))
    for query_id, reference_id, score, *evidence in zip(*columns, strict=True):
        pair = track_name(query_id), track_name(reference_id)
        if pair[1] in pairs.get(pair[0], {}) and (pair not in best or score > best[pair][0]):
            best[pair] = score, [value or 0.0 for value in evidence]
    rows = np.array([evidence for _, evidence in best.values()]).reshape(-1, len(EVIDENCE))
    return rows, np.array([reference in relevant[query] for query, reference in best], bool)


def logistic(evidence: Floats, right: npt.NDArray[np.bool_], ridge: float = RIDGE) -> Floats:
    """Coefficients [k + 1], the intercept last, of evidence [n, k], by Newton's method on the penalised likelihood."""
    mean, spread = evidence.mean(0), evidence.std(0)
    used = spread > 0
    inputs = np.column_stack([(evidence[:, used] - mean[used]) / spread[used], np.ones(len(evidence))])
    penalty = np.diag([ridge] * (inputs.shape[1] - 1) + [0.0])
    weights = np.zeros(inputs.shape[1])

    def objective(at: Floats) -> float:
        return float(np.logaddexp(0, np.where(right, -1, 1) * (inputs @ at)).sum() + at @ penalty @ at / 2)

    for _ in range(STEPS):
        chance = 1 / (1 + np.exp(-np.clip(inputs @ weights, -500, 500)))
        gradient = inputs.T @ (chance - right) + penalty @ weights
        hessian = (inputs * (chance * (1 - chance))[:, None]).T @ inputs + penalty
        step = np.linalg.lstsq(hessian, gradient, rcond=None)[0]
        while objective(weights - step) > objective(weights) and np.abs(step).max() > ENOUGH:
            step = step / 2  # a full step may overshoot where the classes hardly overlap
        weights = weights - step
        if np.abs(step).max() <= ENOUGH:
            break
    result = np.zeros(evidence.shape[1] + 1)
    result[:-1][used] = weights[:-1] / spread[used]
    result[-1] = weights[-1] - (result[:-1] * mean).sum()
    return result
