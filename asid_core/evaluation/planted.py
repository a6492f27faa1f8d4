"""Compares detections with planted samples: the result for each sample, and false alarms."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from asid_core.evaluation.evaluate import read_pairs
from asid_core.evaluation.localisation import Row
from asid_core.evaluation.truth import Relation, Truth


@dataclass(frozen=True)
class Planted:
    """The result for one planted sample.

    rank: of its reference in the query's ranking, from 1. best: its highest-scoring row, if any. span_error_s: the
    largest error of the four starts and ends, compared with the nearest occurrence.
    """

    relation: Relation
    rank: int | None
    best: Row | None
    span_error_s: float | None

    def found(self, within_s: float) -> bool:
        """Whether the sample is at rank 1, with all starts and ends this close."""
        return self.rank == 1 and self.span_error_s is not None and self.span_error_s <= within_s


@dataclass(frozen=True)
class FalseAlarm:
    """A reported pair of tracks that have nothing in common."""

    query: str
    reference: str
    score: float


def compare(detections: pa.Table, truth: Truth, threshold: float) -> tuple[list[Planted], list[FalseAlarm]]:
    """The result for every relation of `truth`, and the false alarms, in detections that score at least `threshold`.

    detections: schema.DETECTIONS. `truth` must list every track both as query and as reference. Both directions of a
    planted pair count as right, because a sweep of a catalogue with itself finds both.
    """
    pairs = {
        query: {name: kept for name, rows in ranking.items() if (kept := [r for r in rows if r.score >= threshold])}
        for query, ranking in read_pairs(detections, truth).items()
    }
    planted = [_result(relation, pairs[relation.query]) for relation in truth.relations]
    related = {frozenset((r.query, r.reference)) for r in truth.relations}
    alarms = [
        FalseAlarm(query, reference, max(r.score for r in rows))
        for query, ranking in pairs.items()
        for reference, rows in ranking.items()
        if frozenset((query, reference)) not in related
    ]
    return planted, sorted(alarms, key=lambda alarm: -alarm.score)


def _result(relation: Relation, ranking: dict[str, list[Row]]) -> Planted:
    rows = ranking.get(relation.reference)
    if not rows:
        return Planted(relation, None, None, None)
    best = max(rows, key=lambda row: row.score)
    rank = 1 + sum(max(r.score for r in others) > best.score for others in ranking.values())
    return Planted(relation, rank, best, span_error_s(best, relation))


def span_error_s(row: Row, relation: Relation) -> float:
    """The largest error of the row's four starts and ends, for the nearest occurrence and equivalent place."""
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
