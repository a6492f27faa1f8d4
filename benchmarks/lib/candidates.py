"""Recall of the coarse search: how often is the true reference among the first k?

One sweep that verifies many references per query answers this for all smaller numbers too, because later stages treat
each reference separately: its rows, limited to the first k references by coarse score, are about those of a sweep with
`search.verify_tracks` = k, which takes the first k by evidence.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pyarrow as pa

from asid_core.evaluation.evaluate import read_pairs
from asid_core.evaluation.statistics import Figure, mean_figure
from asid_core.evaluation.truth import Truth, track_name


def coarse_ranks(detections: pa.Table, truth: Truth) -> dict[str, dict[str, int]]:
    """Query -> reference -> rank, from 1, by best coarse_score. detections: schema.DETECTIONS, without a threshold."""
    counted = read_pairs(detections, truth)
    best: dict[str, dict[str, float]] = defaultdict(dict)
    columns = (detections.column(name).to_pylist() for name in ("query_id", "reference_id", "coarse_score"))
    for query_id, reference_id, score in zip(*columns, strict=True):
        query, reference = track_name(query_id), track_name(reference_id)
        if reference in counted.get(query, {}):
            best[query][reference] = max(score, best[query].get(reference, -np.inf))
    return {
        query: {name: rank for rank, name in enumerate(sorted(scores, key=lambda n: (-scores[n], n)), start=1)}
        for query, scores in best.items()
    }


def among_first(detections: pa.Table, truth: Truth, k: int) -> pa.Table:
    """The rows of the first k references of each query, by coarse score."""
    ranks = coarse_ranks(detections, truth)
    names = (detections.column(name).to_pylist() for name in ("query_id", "reference_id"))
    kept = [ranks.get(track_name(q), {}).get(track_name(r), k + 1) <= k for q, r in zip(*names, strict=True)]
    return detections.filter(pa.array(kept, pa.bool_()))


def recall(ranks: dict[str, dict[str, int]], truth: Truth, k: int, tier: str | None = None) -> Figure:
    """Share of the true pairs (of a tier) whose reference is among the first k, with its interval."""
    pairs = {(r.query, r.reference) for r in truth.relations if tier is None or r.groups.get("tier") == tier}
    return mean_figure([float(ranks.get(query, {}).get(name, k + 1) <= k) for query, name in sorted(pairs)])
