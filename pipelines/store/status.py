"""Reports what a catalogue holds and what is left to do. Needs no Ray."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from asid_core.signal.level import was_not_raised
from pipelines.store import detections, lease
from pipelines.store.catalogue import Catalogue
from pipelines.store.embedded import embedded
from pipelines.store.pairs import are_in, without

FINGERPRINTS = "fingerprints-"


@dataclass(frozen=True)
class ModelStatus:
    """Counts of the fingerprint table of one model."""

    model_id: str
    fingerprints: int  # rows
    tracks: int  # live tracks that have fingerprints
    to_do: int  # live tracks that have none
    stale: int  # tracks whose fingerprints are of removed or older audio


@dataclass(frozen=True)
class Status:
    """Counts of a catalogue. `last_run`: the newest record of runs/.

    sweeps: each sweep.json, oldest first. unfinished: number of parts of each sweep that is running or was killed.
    found: number of detections of the newest sweep above its threshold, by kind. unswept: live tracks that it did not
    include. at_work: the lease of the run that holds the catalogue.
    not_raised: soft tracks that an older asid segmented.
    """

    tracks: int
    audio_s: float
    segments: int
    rejects: int
    models: list[ModelStatus]
    sweeps: list[dict[str, Any]]
    unfinished: dict[str, int]
    found: dict[str, int]
    unswept: int
    last_run: dict[str, Any] | None
    at_work: dict[str, Any] | None
    not_raised: int = 0


def status(catalogue: Catalogue) -> Status:
    """The status of a catalogue. Reads ids and hashes of tracks, but not the rows of fingerprints (`embedded`)."""
    audio_s, segments, not_raised = 0.0, 0, 0
    for batch in catalogue.tracks(columns=["duration_s", "num_segments", "content_hash", "level_db"]):
        audio_s += pc.sum(batch.column(0)).as_py() or 0.0
        segments += pc.sum(batch.column(1)).as_py() or 0
        not_raised += sum(map(was_not_raised, batch.column(2).to_pylist(), batch.column(3).to_pylist()))
    live = catalogue.live()
    tables = [name for name in catalogue.location.folders() if name.startswith(FINGERPRINTS)]
    runs = catalogue.runs()
    begun, sweeps = detections.ids(catalogue), detections.sweeps(catalogue)
    ended = {head["sweep_id"] for head in sweeps}
    return Status(
        tracks=live.num_rows,
        audio_s=audio_s,
        segments=segments,
        rejects=catalogue.rejects().num_rows,
        models=[_model(catalogue, name.removesuffix(".lance"), live) for name in tables],
        sweeps=sweeps,
        unfinished={name: len(detections.parts(catalogue, name)) for name in begun if name not in ended},
        found=_found(catalogue, sweeps[-1]) if sweeps else {},
        unswept=_unswept(catalogue, sweeps[-1]["sweep_id"], live) if sweeps else live.num_rows,
        last_run=runs[-1] if runs else None,
        at_work=lease.holder(catalogue.location),
        not_raised=not_raised,
    )


def _model(catalogue: Catalogue, name: str, live: pa.Table) -> ModelStatus:
    table = catalogue.table(name)
    rows = 0 if table is None else table.count_rows()
    there = embedded(catalogue, name, table)
    current = pc.sum(are_in(live, there)).as_py() or 0
    return ModelStatus(
        name.removeprefix(FINGERPRINTS), rows, current, live.num_rows - current, there.num_rows - current
    )


def _found(catalogue: Catalogue, head: dict[str, Any]) -> dict[str, int]:
    """Number of detections above a sweep's threshold, by kind."""
    if "reported" in head:
        return dict(head["reported"])
    parts = detections.parts(catalogue, head["sweep_id"])  # of an older asid
    return dict(detections.count(parts, detections.threshold(head)).reported)


def _unswept(catalogue: Catalogue, sweep_id: str, live: pa.Table) -> int:
    """Number of live tracks that a sweep did not include, or included with other audio."""
    try:
        known = detections.read_tracks(catalogue, sweep_id)
    except FileNotFoundError:
        return 0
    return without(live, known).num_rows
