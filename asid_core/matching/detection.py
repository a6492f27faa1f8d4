"""A detection: a scored candidate, as a row of a table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Detection:
    """A row of schema.DETECTIONS, which documents the fields. `rank` and `sweep_id` are set when it is written."""

    query_id: str
    query_start_s: float
    query_end_s: float
    reference_id: str
    reference_start_s: float
    reference_end_s: float
    score: float
    rerank_score: float | None
    coarse_score: float
    verify_score: float | None
    verify_margin: float | None
    tempo_ratio: float
    pitch_semitones: float | None
    num_windows: int
    kind: str
    model_id: str
    direction: float | None = None
    reversed: bool = False
    coherence: float | None = None
    rank: int = 0
    sweep_id: str = ""

    def row(self) -> dict[str, Any]:
        """The values by column."""
        return asdict(self)


def ranked(detections: Iterable[Detection]) -> list[Detection]:
    """Detections of one query by descending score. `rank` numbers the references by their best detection."""
    ranks: dict[str, int] = {}
    ordered = sorted(detections, key=lambda one: -one.score)
    return [replace(one, rank=ranks.setdefault(one.reference_id, len(ranks) + 1)) for one in ordered]
