"""Which parts of a candidate are truly a sample: the labels from which a reranker learns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from asid_core.evaluation.evaluate import RIGHT_SEMITONES
from asid_core.evaluation.localisation import Row, off_line, places_of
from asid_core.evaluation.truth import Relation

OFF_LINE_S = 1.0  # farther from the true line is another place
TEMPO_ERROR = 0.05
EDGE_S = 0.3  # a window centred nearer to the end of a sample holds little of it


def right_times(row: Row, times_s: Sequence[float], relations: Iterable[Relation]) -> list[bool]:
    """Whether `row` is on the line of one of the relations of its pair, at each of some times of the query."""
    right = [False] * len(times_s)
    for relation in relations:
        if not _sounds_like(row, relation):
            continue
        for place in places_of(relation):
            for one in place:
                if off_line(row, one, relation.tempo_ratio) <= OFF_LINE_S:
                    start_s, end_s = one.query_start_s + EDGE_S, one.query_end_s - EDGE_S
                    right = [known or start_s < time < end_s for known, time in zip(right, times_s, strict=True)]
    return right


def _sounds_like(row: Row, relation: Relation) -> bool:
    """Whether pitch and tempo are those of the relation, or unknown. A sample that is played backwards is not."""
    if relation.backwards:
        return False
    if relation.tempo_ratio is not None and abs(row.tempo_ratio / relation.tempo_ratio - 1) > TEMPO_ERROR:
        return False
    if row.pitch_semitones is None or relation.pitch_semitones is None:
        return True
    return abs(row.pitch_semitones - relation.pitch_semitones) <= 2 * RIGHT_SEMITONES
