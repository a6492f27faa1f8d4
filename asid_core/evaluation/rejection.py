"""Rejection: does the best score separate queries that sample something from those that sample nothing?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from asid_core.evaluation import metrics, statistics
from asid_core.evaluation.report import NOTHING
from asid_core.evaluation.statistics import Figure
from asid_core.evaluation.truth import Query


@dataclass(frozen=True)
class Answered:
    """One query, its true references, and the ranking that was returned."""

    query: Query
    relevant: frozenset[str]
    ranking: dict[str, float]


def rejection_figures(answered: list[Answered], threshold: float, seed: int) -> dict[str, Figure]:
    """AUROC and AUPRC of the best score as a detector of sampling, and right and wrong reports at the threshold."""
    n = len(answered)
    samples = np.array([bool(a.relevant) for a in answered])
    best = np.array([max(a.ranking.values(), default=0.0) for a in answered])
    reported = [{name for name, score in a.ranking.items() if score >= threshold} for a in answered]
    right = np.array([len(names & a.relevant) for names, a in zip(reported, answered, strict=True)], float)
    wrong = np.array([len(names - a.relevant) for names, a in zip(reported, answered, strict=True)], float)
    wanted = np.array([len(a.relevant) for a in answered], float)
    seconds = np.array([a.query.duration_s or math.nan for a in answered])
    both = bool(samples.any() and not samples.all())
    empty = np.array(
        [float(not names) if not a.relevant else math.nan for names, a in zip(reported, answered, strict=True)]
    )

    def auprc(i: np.ndarray) -> float:
        return metrics.area_under_precision_recall(samples[i], best[i]) if samples[i].any() else math.nan

    def ratio(top: np.ndarray, bottom: np.ndarray) -> Figure:
        def of(i: np.ndarray) -> float:
            return float(top[i].sum() / bottom[i].sum()) if bottom[i].sum() > 0 else math.nan

        return statistics.figure(of, n, seed)

    figures = {
        "auroc": statistics.figure(lambda i: metrics.auroc(samples[i], best[i]), n if both else 0, seed),
        "auprc": statistics.figure(auprc, n if both else 0, seed),
        "recall": ratio(right, wanted),
        "precision": ratio(right, right + wrong),
        "nothing_kept_empty": statistics.mean_figure(empty, seed),
    }
    if not np.isnan(seconds).any():
        figures["false_alarms_per_hour"] = ratio(wrong, seconds / 3600)
    return figures


def nothing_by_kind(answered: list[Answered], threshold: float, seed: int) -> dict[str, dict[str, dict[str, Figure]]]:
    """For each tier of queries that sample nothing: figures against all queries that sample something."""
    tiers = sorted({a.query.groups["tier"] for a in answered if not a.relevant and "tier" in a.query.groups})
    by_tier = {}
    for tier in tiers:
        chosen = [a for a in answered if a.relevant or a.query.groups.get("tier") == tier]
        figures = rejection_figures(chosen, threshold, seed)
        by_tier[tier] = {name: figures[name] for name in ("auroc", "nothing_kept_empty")}
    return {NOTHING: by_tier} if by_tier else {}
