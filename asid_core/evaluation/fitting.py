"""Fits the logistic model of the final score (ScoreConfig) to the detections of a benchmark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy import optimize, special

from asid_core.config import COHERENT, ScoreConfig
from asid_core.evaluation.evaluate import read_pairs
from asid_core.evaluation.metrics import Floats
from asid_core.evaluation.truth import Truth, track_name

EVIDENCE = ("coarse_score", "verify_score", "verify_margin", "rerank_score")
RIDGE = 1.0  # penalty on standardised coefficients, which would be infinite if right and wrong pairs did not overlap
ENOUGH = 1e-12  # relative error of the standardised coefficients
# Exponent of the number of tries in the prior odds. It would be 1 if every chance match were verified. But only the
# best of each query are, and their z-score grows like sqrt(2 ln tries), by 0.2 per logarithm at a million tries.
PER_TRY = 0.25
MAX_ALARMS_PER_HOUR = 0.5  # per hour of query audio, at the threshold
MIN_REVIEWED = 10  # confirmed pairs, and pairs that are not a sample; a fit to fewer is unreliable
TAIL_PAIRS = 30  # best wrong pairs, from which the tail of their log-odds is extrapolated


@dataclass(frozen=True)
class Fit:
    """The result of a fit.

    pairs: number of (query, reference) pairs used; right: how many of them are true. log_loss: mean negative log
    likelihood in nats. lowered: log-odds subtracted from the maximum-likelihood intercept to keep false alarms below
    MAX_ALARMS_PER_HOUR.
    """

    score: ScoreConfig
    pairs: int
    right: int
    log_loss: float
    lowered: float


def fit_score(detections: pa.Table, truth: Truth, old: ScoreConfig, tries: int) -> Fit:
    """Fit to the best row of each (query, reference) pair in `detections` (schema.DETECTIONS, including low scores).

    tries: as in `score.probability`. old: its threshold and ceiling are kept. Evidence that no row has, as for a
    model without a reranker, gets the coefficient 0. Queries of a benchmark sample much more often than tracks of a
    catalogue, so the intercept is lowered if it would give too many false alarms. Raises ValueError if all pairs are
    right, all are wrong, or the duration of a query is unknown.
    """
    evidence, right = best_rows(detections, truth)
    if not 0 < right.sum() < len(right):
        raise ValueError(
            f"{int(right.sum())} of {len(right)} detected pairs are right; a fit needs right and wrong ones. "
            "Use a larger benchmark."
        )
    evidence = below_ceiling(evidence, old)
    coefficients = logistic(evidence, right)
    wrong = (evidence @ coefficients[:-1] + coefficients[-1])[~right]
    lowered = max(0.0, alarm_level(wrong, hours_of(truth)) - math.log(old.threshold / (1 - old.threshold)))
    return _fit(evidence, right, coefficients, lowered, old, tries)


def fit_reviewed(evidence: Floats, right: npt.NDArray[np.bool_], old: ScoreConfig, tries: int) -> Fit:
    """Fit to reviewed pairs: EVIDENCE [pairs, 4] with 0 for missing values, and whether each is a sample [pairs].

    The intercept is not lowered, because the share of right pairs is that of the catalogue itself. Raises ValueError if
    there are fewer than MIN_REVIEWED right or wrong pairs.
    """
    counts = int(right.sum()), int((~right).sum())
    if min(counts) < MIN_REVIEWED:
        raise ValueError(
            f"{counts[0]} confirmed pairs and {counts[1]} that are not a sample; a fit needs {MIN_REVIEWED} of each. "
            "Review more in a report with a low --min-score, and add them with `asid review`."
        )
    evidence = below_ceiling(evidence, old)
    return _fit(evidence, right, logistic(evidence, right), 0.0, old, tries)


def below_ceiling(evidence: Floats, score: ScoreConfig) -> Floats:
    """The same EVIDENCE [n, 4] with coarse scores of at most the ceiling."""
    return np.column_stack([evidence[:, 0].clip(max=score.coarse_ceiling), evidence[:, 1:]])


def _fit(
    evidence: Floats,
    right: npt.NDArray[np.bool_],
    coefficients: Floats,
    lowered: float,
    old: ScoreConfig,
    tries: int,
) -> Fit:
    coarse, verify, margin, rerank, intercept = (float(c) for c in coefficients)
    score = replace(old, coarse=coarse, verify=verify, margin=margin, rerank=rerank, tries=PER_TRY)
    score = replace(score, intercept=intercept - lowered + score.of_tries(tries))
    log_odds = evidence @ coefficients[:-1] + coefficients[-1] - lowered
    loss = float(np.mean(np.logaddexp(0, np.where(right, -1, 1) * log_odds)))
    return Fit(score, len(right), int(right.sum()), loss, lowered)


def alarm_level(wrong: Floats, hours: float) -> float:
    """The log-odds that MAX_ALARMS_PER_HOUR wrong pairs exceed.

    wrong: log-odds [n] of the wrong pairs in `hours` of query audio. A few hours hold too few of them to count, so an
    exponential tail is fitted to the best TAIL_PAIRS.
    """
    falling = np.sort(wrong)[::-1]
    count = min(TAIL_PAIRS, len(falling) - 1)
    allowed = MAX_ALARMS_PER_HOUR * hours
    if count < 1 or allowed >= count:
        return float(falling[min(int(allowed), len(falling) - 1)])
    start = falling[count]
    return float(start + (falling[:count] - start).mean() * math.log(count / allowed))


def hours_of(truth: Truth) -> float:
    """Duration of all queries. Raises ValueError if that of one is unknown."""
    seconds = [query.duration_s for query in truth.queries if query.duration_s is not None]
    if len(seconds) < len(truth.queries):
        raise ValueError("the benchmark has no durations of its queries. Make it again with `asid bench make`.")
    return sum(seconds) / 3600


def best_rows(detections: pa.Table, truth: Truth) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """EVIDENCE of each pair's best row, float [pairs, 4] with 0 for missing values; and whether it is right [pairs].

    Rows on which other evidence decides as well do not count (`decides`).
    """
    detections = detections.filter(decides(detections["coherence"]))
    pairs, relevant = read_pairs(detections, truth), truth.relevant()
    best: dict[tuple[str, str], tuple[float, Sequence[float]]] = {}
    columns = (detections.column(name).to_pylist() for name in ("query_id", "reference_id", "score", *EVIDENCE))
    for query_id, reference_id, score, *evidence in zip(*columns, strict=True):
        pair = track_name(query_id), track_name(reference_id)
        if pair[1] in pairs.get(pair[0], {}) and (pair not in best or score > best[pair][0]):
            best[pair] = score, [value or 0.0 for value in evidence]
    rows = np.array([evidence for _, evidence in best.values()]).reshape(-1, len(EVIDENCE))
    return rows, np.array([reference in relevant[query] for query, reference in best], bool)


def decides(coherence: pa.ChunkedArray) -> pa.ChunkedArray:
    """Whether EVIDENCE alone decides on rows: incoherent waveforms cost log-odds that no fit sets."""
    return pc.fill_null(pc.greater_equal(coherence, COHERENT), True)


def logistic(evidence: Floats, right: npt.NDArray[np.bool_], ridge: float = RIDGE) -> Floats:
    """Logistic regression of `right` [n] on evidence [n, k], with an L2 penalty `ridge`.

    Returns the coefficients [k + 1], with the intercept last. The penalty applies to the standardised coefficients,
    except the intercept. The penalised likelihood is concave, so the only zero of its gradient is the maximum.
    Constant evidence gets the coefficient 0.
    """
    mean, spread = evidence.mean(0), evidence.std(0)
    used = spread > 0
    inputs = np.column_stack([(evidence[:, used] - mean[used]) / spread[used], np.ones(len(evidence))])
    penalty = np.array([ridge] * (inputs.shape[1] - 1) + [0.0])

    def gradient(weights: Floats) -> Floats:
        return np.asarray(inputs.T @ (special.expit(inputs @ weights) - right) + penalty * weights)

    def hessian(weights: Floats) -> Floats:
        chance = special.expit(inputs @ weights)
        return np.asarray((inputs * (chance * (1 - chance))[:, None]).T @ inputs + np.diag(penalty))

    weights = optimize.root(gradient, np.zeros(inputs.shape[1]), jac=hessian, method="lm", tol=ENOUGH).x
    result = np.zeros(evidence.shape[1] + 1)
    result[:-1][used] = weights[:-1] / spread[used]
    result[-1] = weights[-1] - (result[:-1] * mean).sum()
    return result
