"""The logistic model of the final score (config.Score), fitted to the detections of a benchmark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import optimize, special

from asid_core.config import ScoreConfig
from asid_core.evaluation.evaluate import read_pairs
from asid_core.evaluation.metrics import Floats
from asid_core.evaluation.truth import Truth, track_name

EVIDENCE = ("coarse_score", "verify_score", "verify_margin", "rerank_score")
# Of the standardised coefficients: a benchmark whose right and wrong pairs do not overlap would have infinite ones
RIDGE = 1.0
ENOUGH = 1e-12  # relative error of the standardised coefficients
# If every chance match were verified, prior odds would fall as 1 / tries. Only each query's best are verified, so in a
# larger catalogue wrong pairs get stronger, not more numerous, and a smaller power is enough
PER_TRY = 0.5
MAX_ALARMS_PER_HOUR = 0.5  # of query audio, at the threshold
LEAST_REVIEWED = 10  # confirmed pairs, and as many that are no sample: of fewer, a fit is chance
TAIL_PAIRS = 30  # wrong pairs, best first, that tell how their log-odds go on


@dataclass(frozen=True)
class Fit:
    """The fitted section, the (query, reference) pairs behind it, and its mean negative log likelihood on them.

    `lowered`: log-odds taken from the likeliest intercept to keep false alarms below MAX_ALARMS_PER_HOUR.
    """

    score: ScoreConfig
    pairs: int
    right: int
    log_loss: float
    lowered: float


def fit_score(detections: pa.Table, truth: Truth, threshold: float, tries: int) -> Fit:
    """Fit to the best row of each (query, reference) pair of `detections` (schema.DETECTIONS, low scores included).

    `tries`: rows searched x probes. Evidence that no row has (a model without reranker) gets the coefficient 0;
    `threshold` is passed on. Queries of a benchmark sample far more often than tracks of a catalogue do, so the
    intercept is lowered where the likeliest one would give too many false alarms. Raises ValueError where all pairs are
    right or all are wrong, or a query's duration is not known.
    """
    evidence, right = best_rows(detections, truth)
    if not 0 < right.sum() < len(right):
        raise ValueError(
            f"{int(right.sum())} of {len(right)} detected pairs are right: a fit needs right and wrong ones; "
            "give a larger benchmark"
        )
    coefficients = logistic(evidence, right)
    wrong = (evidence @ coefficients[:-1] + coefficients[-1])[~right]
    lowered = max(0.0, alarm_level(wrong, _hours(truth)) - math.log(threshold / (1 - threshold)))
    return _fit(evidence, right, coefficients, lowered, threshold, tries)


def fit_reviewed(evidence: Floats, right: npt.NDArray[np.bool_], threshold: float, tries: int) -> Fit:
    """Fit to pairs that people judged: EVIDENCE [pairs, 4], missing values as 0, and whether it is a sample [pairs].

    The intercept is the likeliest for pairs like these: it is not lowered, since reviewers see what scores high and its
    share of right pairs is that of the catalogue. Raises ValueError below LEAST_REVIEWED right or wrong pairs.
    """
    counts = int(right.sum()), int((~right).sum())
    if min(counts) < LEAST_REVIEWED:
        raise ValueError(
            f"{counts[0]} confirmed pairs and {counts[1]} that are not a sample: a fit needs {LEAST_REVIEWED} of each; "
            "review more of them in a report, with a low --min-score, and add them with `asid review`"
        )
    return _fit(evidence, right, logistic(evidence, right), 0.0, threshold, tries)


def _fit(
    evidence: Floats,
    right: npt.NDArray[np.bool_],
    coefficients: Floats,
    lowered: float,
    threshold: float,
    tries: int,
) -> Fit:
    coarse, verify, margin, rerank, intercept = (float(c) for c in coefficients)
    prior = intercept - lowered + PER_TRY * math.log(tries)
    score = ScoreConfig(prior, coarse, verify, margin, rerank, tries=PER_TRY, threshold=threshold)
    log_odds = evidence @ coefficients[:-1] + coefficients[-1] - lowered
    loss = float(np.mean(np.logaddexp(0, np.where(right, -1, 1) * log_odds)))
    return Fit(score, len(right), int(right.sum()), loss, lowered)


def alarm_level(wrong: Floats, hours: float) -> float:
    """The log-odds that MAX_ALARMS_PER_HOUR wrong pairs exceed, of the log-odds of those in `hours` of query audio.

    A few hours hold too few such pairs to count: beyond the best TAIL_PAIRS they are taken to fall off exponentially.
    """
    falling = np.sort(wrong)[::-1]
    count = min(TAIL_PAIRS, len(falling) - 1)
    allowed = MAX_ALARMS_PER_HOUR * hours
    if count < 1 or allowed >= count:
        return float(falling[min(int(allowed), len(falling) - 1)])
    start = falling[count]
    return float(start + (falling[:count] - start).mean() * math.log(count / allowed))


def _hours(truth: Truth) -> float:
    seconds = [query.duration_s for query in truth.queries if query.duration_s is not None]
    if len(seconds) < len(truth.queries):
        raise ValueError("the benchmark does not say how long its queries are; make it again with `asid bench make`")
    return sum(seconds) / 3600


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
    """Coefficients [k + 1], the intercept last, of evidence [n, k], by maximum penalised likelihood.

    `ridge` weighs the squares of the standardised coefficients, without the intercept. The likelihood is concave, so
    the only zero of its gradient is the maximum. Evidence that is the same in all rows gets the coefficient 0.
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
