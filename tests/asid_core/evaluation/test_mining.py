"""Labels of candidates for the training of a reranker."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from asid_core.evaluation.localisation import Row
from asid_core.evaluation.mining import EDGE_S, OFF_LINE_S, right_times
from asid_core.evaluation.truth import Occurrence, Relation

TWICE = Relation(
    "q",
    "r",
    (Occurrence(10.0, 14.0, 50.0, 56.0), Occurrence(20.0, 24.0, 50.0, 56.0)),
    tempo_ratio=1.5,
    pitch_semitones=2.0,
    equivalent_starts_s=(80.0,),
)
TIMES_S = [9.0, 10.1, 12.0, 13.9, 15.0, 22.0]


def row(query_s: float = 10.0, reference_s: float = 50.0, tempo: float = 1.5, pitch: float | None = 2.0) -> Row:
    return Row(0.9, (query_s, query_s + 4.0), (reference_s, reference_s + 4.0 * tempo), tempo, pitch)


def test_only_times_inside_the_occurrence_on_whose_line_a_candidate_lies_are_right() -> None:
    first = [False, False, True, False, False, False]
    assert right_times(row(), TIMES_S, [TWICE]) == first
    assert right_times(row(reference_s=80.0), TIMES_S, [TWICE]) == first  # sounds the same there
    assert right_times(row(20.0), TIMES_S, [TWICE]) == [False] * 5 + [True]


def test_another_place_pitch_tempo_or_direction_is_not_right() -> None:
    nothing = [False] * len(TIMES_S)
    for wrong in (row(reference_s=60.0), row(tempo=1.3), row(pitch=4.5)):
        assert right_times(wrong, TIMES_S, [TWICE]) == nothing
    assert right_times(row(), TIMES_S, []) == nothing
    assert right_times(row(), TIMES_S, [replace(TWICE, backwards=True)]) == nothing


def test_unknown_pitch_and_tempo_are_no_contradiction() -> None:
    unknown = replace(TWICE, pitch_semitones=None)
    assert any(right_times(row(pitch=9.0), TIMES_S, [unknown]))
    assert any(right_times(row(pitch=None), TIMES_S, [TWICE]))


@given(st.floats(-5, 5), st.floats(10 + EDGE_S + 0.01, 14 - EDGE_S - 0.01))
def test_a_candidate_is_right_if_it_is_near_the_true_line(off_s: float, time_s: float) -> None:
    (right,) = right_times(row(reference_s=50.0 + off_s), [time_s], [TWICE])
    assert right == (abs(off_s) <= OFF_LINE_S)
