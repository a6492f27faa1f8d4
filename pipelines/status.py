"""What is in a catalogue and what is left to do, found by looking at what is committed. Needs no Ray."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs

from pipelines.catalogue import Catalogue
from pipelines.storage import Location

FINGERPRINTS = "fingerprints-"


@dataclass(frozen=True)
class ModelStatus:
    """Fingerprints of one model: rows, live tracks that have them, live tracks that have none, tracks out of date."""

    model_id: str
    fingerprints: int
    tracks: int
    to_do: int
    stale: int


@dataclass(frozen=True)
class Status:
    """Counts of a catalogue. `sweeps`: each sweep.json, oldest first; `last_run`: the newest record of runs/."""

    tracks: int
    audio_s: float
    segments: int
    rejects: int
    models: list[ModelStatus]
    sweeps: list[dict[str, Any]]
    last_run: dict[str, Any] | None


def status(catalogue: Catalogue) -> Status:
    """Reads ids and hashes, never audio or vectors."""
    audio_s, segments = 0.0, 0
    for batch in catalogue.tracks(columns=["duration_s", "num_segments"]):
        audio_s += pc.sum(batch.column(0)).as_py() or 0.0
        segments += pc.sum(batch.column(1)).as_py() or 0
    live = catalogue.live()
    tables = [name for name in _folders(catalogue.location) if name.startswith(FINGERPRINTS)]
    runs = catalogue.runs()
    return Status(
        tracks=len(live),
        audio_s=audio_s,
        segments=segments,
        rejects=catalogue.rejects().num_rows,
        models=[_model(catalogue, name.removesuffix(".lance"), live) for name in tables],
        sweeps=_sweeps(catalogue.location.join("detections")),
        last_run=runs[-1] if runs else None,
    )


def _folders(place: Location) -> list[str]:
    """Names right below: Location.list would walk through every fragment of every table."""
    filesystem, path = place.arrow()
    found = filesystem.get_file_info(pyarrow.fs.FileSelector(path, allow_not_found=True))
    return sorted(entry.base_name for entry in found if entry.type == pyarrow.fs.FileType.Directory)


def _model(catalogue: Catalogue, name: str, live: dict[str, str]) -> ModelStatus:
    table = catalogue.table(name)
    found: set[tuple[str, str]] = set()
    rows = 0
    if table is not None:
        for batch in table.to_batches(columns=["track_id", "content_hash"]):
            rows += batch.num_rows
            pairs = pa.Table.from_batches([batch]).group_by(["track_id", "content_hash"]).aggregate([])
            found.update(zip(pairs.column(0).to_pylist(), pairs.column(1).to_pylist(), strict=True))
    current = found & set(live.items())
    return ModelStatus(
        name.removeprefix(FINGERPRINTS), rows, len(current), len(live) - len(current), len(found) - len(current)
    )


def _sweeps(place: Location) -> list[dict[str, Any]]:
    """The sweeps that ended: one without its sweep.json is under way, or was killed."""
    heads = {name: place.join(name, "sweep.json") for name in _folders(place)}
    return [{"sweep_id": name, **json.loads(head.read_bytes())} for name, head in heads.items() if head.exists()]
