"""Recall of the coarse search, and tables reduced to the first k candidates."""

from typing import Any

import pyarrow as pa

from asid_core import schema
from asid_core.evaluation.truth import Query, Relation, Truth
from benchmarks.lib.candidates import among_first, coarse_ranks, recall

TRUTH = Truth(
    (Query("q0"), Query("q1"), Query("q2")),
    ("a", "b", "c"),
    (Relation("q0", "a", groups={"tier": "hard"}), Relation("q1", "c", groups={"tier": "exact"})),
)


def detections() -> pa.Table:
    """q0 finds `a` second by coarse score although its other row is weak; q1 finds `c` first; q2 has no detections."""
    fill: dict[str, Any] = dict.fromkeys(("query_start_s", "query_end_s", "reference_start_s", "reference_end_s"), 0.0)
    fill |= {"tempo_ratio": 1.0, "num_windows": 1, "score": 0.5}
    fill |= {"kind": "sample", "rank": 1, "sweep_id": "s", "model_id": "m"}
    rows = [("q0", "a", 2.0), ("q0", "b", 5.0), ("q0", "a", 4.0), ("q0", "c", 3.0), ("q1", "c", 1.0)]
    values = [{**fill, "query_id": q, "reference_id": r, "coarse_score": c} for q, r, c in rows]
    return pa.Table.from_pylist(values, schema=schema.DETECTIONS)


def test_references_rank_by_their_best_coarse_score() -> None:
    assert coarse_ranks(detections(), TRUTH) == {"q0": {"b": 1, "a": 2, "c": 3}, "q1": {"c": 1}}


def test_a_table_cut_to_the_first_k_keeps_every_row_of_those() -> None:
    cut = among_first(detections(), TRUTH, 2)
    assert [(r["query_id"], r["reference_id"], r["coarse_score"]) for r in cut.to_pylist()] == [
        ("q0", "a", 2.0),
        ("q0", "b", 5.0),
        ("q0", "a", 4.0),
        ("q1", "c", 1.0),
    ]
    assert among_first(detections(), TRUTH, 3).num_rows == 5


def test_recall_by_k_and_tier() -> None:
    ranks = coarse_ranks(detections(), TRUTH)
    assert [recall(ranks, TRUTH, k).value for k in (1, 2)] == [0.5, 1.0]
    assert recall(ranks, TRUTH, 1, "exact").value == 1 and recall(ranks, TRUTH, 1, "hard").value == 0
    assert recall({}, TRUTH, 10).value == 0
