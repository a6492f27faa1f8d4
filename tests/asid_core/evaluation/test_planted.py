"""Detections compared with planted samples."""

import pyarrow as pa
import pytest

from asid_core.evaluation.planted import compare
from asid_core.evaluation.truth import Occurrence, Query, Relation, Truth
from asid_core.schema import DETECTIONS

TRUTH = Truth(
    tuple(Query(name, 30.0) for name in ("a", "b", "c", "d")),
    ("a", "b", "c", "d"),
    (Relation("a", "b", (Occurrence(2, 7, 10, 16), Occurrence(7, 12, 10, 16)), 1.2, 2.0, (20.0,)),),
)


def _row(query: str, reference: str, score: float, spans: tuple[float, float, float, float] = (2, 7, 10, 16)) -> dict:
    return {
        "query_id": f"{query}.wav", "reference_id": f"{reference}.wav", "score": score, "query_start_s": spans[0],
        "query_end_s": spans[1], "reference_start_s": spans[2], "reference_end_s": spans[3], "coarse_score": 0.5,
        "tempo_ratio": 1.2, "pitch_semitones": 2.0, "num_windows": 9, "kind": "sample", "rank": 1, "sweep_id": "s",
        "model_id": "m",
    }  # fmt: skip


def _table(*rows: dict) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=DETECTIONS)


def test_found_in_the_second_repeat_with_small_errors() -> None:
    (planted,), alarms = compare(_table(_row("a", "b", 0.9, (7.1, 12.3, 10.2, 15.6))), TRUTH, 0.5)
    assert planted.rank == 1 and planted.span_error_s == pytest.approx(0.4) and alarms == []
    assert planted.found(1.0) and not planted.found(0.3)


def test_another_place_that_sounds_the_same_is_right() -> None:
    (planted,), _ = compare(_table(_row("a", "b", 0.9, (2, 7, 20, 26))), TRUTH, 0.5)
    assert planted.span_error_s == pytest.approx(0.0)


def test_missed_below_the_threshold() -> None:
    (planted,), alarms = compare(_table(_row("a", "b", 0.4), _row("c", "d", 0.3)), TRUTH, 0.5)
    assert planted.rank is None and not planted.found(1e9) and alarms == []
    (planted,), _ = compare(_table(), TRUTH, 0.5)
    assert planted.best is None


def test_a_better_stranger_takes_rank_1_and_is_a_false_alarm() -> None:
    (planted,), alarms = compare(_table(_row("a", "b", 0.6), _row("a", "c", 0.8), _row("a", "c", 0.7)), TRUTH, 0.5)
    assert planted.rank == 2 and not planted.found(1.0)
    assert [(x.query, x.reference, round(x.score, 2)) for x in alarms] == [("a", "c", 0.8)]


def test_the_sampled_track_finding_its_sampler_is_no_false_alarm() -> None:
    _, alarms = compare(_table(_row("b", "a", 0.9), _row("d", "a", 0.7), _row("c", "b", 0.9)), TRUTH, 0.5)
    assert [(x.query, x.reference) for x in alarms] == [("c", "b"), ("d", "a")]
