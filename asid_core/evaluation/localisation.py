"""Localisation: compares detected with annotated spans. A span is (start, end) in seconds.

Conventions: overlapping query spans of a relation are merged. If the sampled passage sounds the same at several places
of the reference, the one that gives the best figure counts. Errors are those of the highest-scoring row of a pair. A
relation that was not found has an IoU of 0 and is not within any distance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from asid_core.evaluation.truth import Occurrence, Relation
from asid_core.matching.relations import stretches

Span = tuple[float, float]


@dataclass(frozen=True)
class Row:
    """The part of a detection that localisation needs."""

    score: float
    query: Span
    reference: Span
    tempo_ratio: float
    pitch_semitones: float | None
    direction: float | None = None  # probability that the query samples the reference


@dataclass(frozen=True)
class Located:
    """The figures of one relation. NaN if nothing was annotated; errors are also NaN if nothing was found.

    start_error_s: the larger of the start errors in query and reference. alignment_error_s: distance of the detected
    alignment from the true one, whatever part of the occurrence was found.
    """

    query_iou: float
    reference_iou: float
    start_error_s: float
    alignment_error_s: float
    tempo_error: float  # |detected / true - 1|
    pitch_error: float  # semitones

    def within(self, seconds: float) -> float:
        """1.0 if both starts are this close; 0.0 if not, or not found; NaN if nothing was annotated."""
        return math.nan if math.isnan(self.query_iou) else float(self.start_error_s <= seconds)


def validate_spans(spans: Sequence[Span]) -> None:
    """Raise ValueError for a span that ends before it starts or is not finite."""
    for start, end in spans:
        if not (math.isfinite(start) and math.isfinite(end) and end >= start):
            raise ValueError(f"a span is (start, end) in seconds, start first, not ({start}, {end})")


def merged(spans: Sequence[Span]) -> list[Span]:
    """Merge overlapping spans; returns disjoint spans in order. Raises ValueError for an invalid span."""
    validate_spans(spans)
    return stretches(spans)


def intersection_over_union(detected: Sequence[Span], annotated: Sequence[Span]) -> float:
    """Temporal IoU of two sets of spans: seconds in both, divided by seconds in either; 0 if both are empty."""
    a, b = merged(detected), merged(annotated)
    both = sum(max(0.0, min(x[1], y[1]) - max(x[0], y[0])) for x in a for y in b)
    either = sum(end - start for start, end in a) + sum(end - start for start, end in b) - both
    return both / either if either > 0 else 0.0


def locate(rows: Sequence[Row], relation: Relation) -> Located:
    """Compare the rows reported for a pair with its true relation."""
    if not relation.occurrences:
        best = max(rows, key=lambda r: r.score, default=None)
        return Located(math.nan, math.nan, math.nan, math.nan, *_transformation_errors(best, relation))
    if not rows:
        return Located(0.0, 0.0, math.inf, math.nan, math.nan, math.nan)
    best = max(rows, key=lambda r: r.score)
    places = places_of(relation)
    annotated = [(o.query_start_s, o.query_end_s) for o in relation.occurrences]
    return Located(
        intersection_over_union([r.query for r in rows], annotated),
        max(
            intersection_over_union([best.reference], [(o.reference_start_s, o.reference_end_s) for o in place])
            for place in places
        ),
        min(
            max(abs(best.query[0] - o.query_start_s), abs(best.reference[0] - o.reference_start_s))
            for place in places
            for o in place
        ),
        min(off_line(best, o, relation.tempo_ratio) for place in places for o in place),
        *_transformation_errors(best, relation),
    )


def places_of(relation: Relation) -> list[list[Occurrence]]:
    """The occurrences as annotated, and shifted to each equivalent place in the reference."""
    first = relation.occurrences[0].reference_start_s
    return [
        [
            Occurrence(o.query_start_s, o.query_end_s, o.reference_start_s + move, o.reference_end_s + move)
            for o in relation.occurrences
        ]
        for move in [0.0, *(start - first for start in relation.equivalent_starts_s)]
    ]


def off_line(row: Row, o: Occurrence, tempo_ratio: float | None) -> float:
    """Distance in seconds of the row's line from that of an occurrence, at a query time inside the occurrence."""
    start = min(max(row.query[0], o.query_start_s), o.query_end_s)
    reference = row.reference[0] + (start - row.query[0]) * row.tempo_ratio
    return abs(reference - o.reference_start_s - (tempo_ratio or 1.0) * (start - o.query_start_s))


def _transformation_errors(row: Row | None, relation: Relation) -> tuple[float, float]:
    tempo = pitch = math.nan
    if row is not None and relation.tempo_ratio:
        tempo = abs(row.tempo_ratio / relation.tempo_ratio - 1)
    if row is not None and row.pitch_semitones is not None and relation.pitch_semitones is not None:
        pitch = abs(row.pitch_semitones - relation.pitch_semitones)
    return tempo, pitch
