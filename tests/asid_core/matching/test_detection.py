"""A detection converts to a row of the detections table."""

from __future__ import annotations

from dataclasses import fields

from asid_core.matching.detection import Detection, ranked
from asid_core.schema import DETECTIONS


def detection(reference_id: str, score: float) -> Detection:
    return Detection("q", 0, 1, reference_id, 0, 1, score, None, 3.0, 0.5, 0.1, 1.0, 0.0, 4, "sample", "m")


def test_fields_are_the_columns() -> None:
    assert {field.name for field in fields(Detection)} == set(DETECTIONS.names)


def test_references_are_numbered_by_their_best_detection() -> None:
    found = ranked([detection("a", 0.2), detection("b", 0.9), detection("a", 0.95), detection("c", 0.1)])
    assert [(one.reference_id, one.rank) for one in found] == [("a", 1), ("b", 2), ("a", 1), ("c", 3)]
