import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asid_core.evaluation.localisation import Row, Span, intersection_over_union, locate, merged
from asid_core.evaluation.truth import Occurrence, Relation

RELATION = Relation(
    "q", "r", (Occurrence(10, 14, 50, 55), Occurrence(14, 18, 50, 55)), 1.25, -2.0, equivalent_starts_s=(80.0,)
)

spans = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 10)).map(lambda t: (t[0], t[0] + t[1])), max_size=6)


def row(query: Span, reference: Span, score: float = 0.9, tempo: float = 1.25, pitch: float | None = -2.0) -> Row:
    return Row(score, query, reference, tempo, pitch)


def test_perfect_and_missing() -> None:
    errors = locate([row((10, 14), (50, 55)), row((14, 18), (50, 55), 0.8)], RELATION)
    assert (errors.query_iou, errors.reference_iou, errors.start_error_s, errors.alignment_error_s) == (1, 1, 0, 0)
    assert errors.tempo_error == errors.pitch_error == 0 and errors.within(1) == 1
    lost = locate([], RELATION)
    assert lost.query_iou == 0 == lost.within(5) and math.isnan(lost.tempo_error)


def test_by_hand() -> None:
    errors = locate([row((12, 18), (52, 56), tempo=1.0, pitch=0.0)], RELATION)
    assert errors.query_iou == pytest.approx(6 / 8)
    assert errors.reference_iou == pytest.approx(3 / 6)
    assert errors.start_error_s == 2 and errors.within(1) == 0 and errors.within(5) == 1
    assert errors.alignment_error_s == pytest.approx(0.5)  # at query 12 s the truth is at 50 + 1.25 * 2
    assert errors.tempo_error == pytest.approx(0.2) and errors.pitch_error == 2


def test_another_place_that_sounds_the_same_is_right() -> None:
    errors = locate([row((10, 14), (80, 85))], RELATION)
    assert errors.within(1) == 1 and errors.reference_iou == 1
    assert locate([row((10, 14), (30, 35))], RELATION).within(5) == 0


def test_a_piece_of_the_occurrence_is_aligned_although_it_starts_late() -> None:
    errors = locate([row((12, 14), (52.5, 55))], RELATION)
    assert errors.alignment_error_s == pytest.approx(0) and errors.start_error_s == 2.5


def test_unannotated_relations_measure_only_the_transformation() -> None:
    errors = locate([row((0, 1), (0, 1))], Relation("q", "r", (), 1.25))
    assert math.isnan(errors.query_iou) and math.isnan(errors.within(5)) and math.isnan(errors.pitch_error)
    assert errors.tempo_error == 0


@given(spans, spans)
def test_iou_equals_counting_seconds(a: list[Span], b: list[Span]) -> None:
    def seconds(of: list[Span]) -> set[int]:
        return {t for start, end in of for t in range(int(start), int(end))}

    either = seconds(a) | seconds(b)
    expected = len(seconds(a) & seconds(b)) / len(either) if either else 0.0
    assert intersection_over_union(a, b) == pytest.approx(expected) == intersection_over_union(b, a)
    assert all(x[1] < y[0] for x, y in zip(merged(a), merged(a)[1:], strict=False))


def test_spans_are_checked() -> None:
    with pytest.raises(ValueError, match="start first"):
        intersection_over_union([(2.0, 1.0)], [])
