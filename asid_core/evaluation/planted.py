"""Detections against samples that were planted: a line for each, and what was reported that nobody planted."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from asid_core.evaluation.evaluate import read_pairs
from asid_core.evaluation.localisation import Row
from asid_core.evaluation.truth import Relation, Truth


@dataclass(frozen=True)
class Planted:
    """One planted sample. `rank` of its reference among the query's, from 1; `best` its highest-scoring row, if any.

    `span_error_s`: the greatest of the four errors of the starts and ends, against the nearest occurrence.
    """

    relation: Relation
    rank: int | None
    best: Row | None
    span_error_s: float | None

    def found(self, within_s: float) -> bool:
        """At rank 1 with every start and end this close."""
        return self.rank == 1 and self.span_error_s is not None and self.span_error_s <= within_s


@dataclass(frozen=True)
class FalseAlarm:
    """A pair reported at the threshold or above that has nothing in common."""

    query: str
    reference: str
    score: float


def compare(detections: pa.Table, truth: Truth, threshold: float) -> tuple[list[Planted], list[FalseAlarm]]:
    """Every relation of `truth` in `detections` (schema.DETECTIONS) whose score is at least `threshold`.

    `truth` lists every track as query and as reference, or its pairs with others are not looked at. In a sweep of a
    catalogue with itself the sampled track finds the one that samples it as well: both directions of a planted pair are
    right.
    """
    pairs = {
        query: {name: kept for name, rows in found.items() if (kept := [r for r in rows if r.score >= threshold])}
        for query, found in read_pairs(detections, truth).items()
    }
    planted = [_look(relation, pairs[relation.query]) for relation in truth.relations]
    related = {frozenset((r.query, r.reference)) for r in truth.relations}
    alarms = [
        FalseAlarm(query, reference, max(r.score for r in rows))
        for query, found in pairs.items()
        for reference, rows in found.items()
        if frozenset((query, reference)) not in related
    ]
    return planted, sorted(alarms, key=lambda alarm: -alarm.score)


def _look(relation: Relation, found: dict[str, list[Row]]) -> Planted:
    rows = found.get(relation.reference)
    if not rows:
        return Planted(relation, None, None, None)
    best = max(rows, key=lambda row: row.score)
    rank = 1 + sum(max(r.score for r in others) > best.score for others in found.values())
    return Planted(relation, rank, best, span_error_s(best, relation))


def span_error_s(row: Row, relation: Relation) -> float:
    """The greatest error of the row's four ends, in the nearest occurrence and place that sounds the same."""
    first = relation.occurrences[0].reference_start_s
    moves = [0.0, *(start - first for start in relation.equivalent_starts_s)]
    return min(
        max(
            abs(row.query[0] - o.query_start_s),
            abs(row.query[1] - o.query_end_s),
            abs(row.reference[0] - o.reference_start_s - move),
            abs(row.reference[1] - o.reference_end_s - move),
        )
        for o in relation.occurrences
        for move in moves
    )
