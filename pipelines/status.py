"""What is in a catalogue and what is left to do, found by looking at what is committed. Needs no Ray."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs
import pyarrow.parquet as pq

from pipelines import detections, incremental, lease
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
    """Counts of a catalogue. `last_run`: the newest record of runs/.

    sweeps: each sweep.json, oldest first. unfinished: sweeps under way or killed, with their parts so far.
    found: detections of the newest sweep from its threshold on, by kind. unswept: live tracks that it did not know.
    at_work: the lease of a run that holds the catalogue now.
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


def status(catalogue: Catalogue) -> Status:
    """Reads ids and hashes, never audio or vectors."""
    audio_s, segments = 0.0, 0
    for batch in catalogue.tracks(columns=["duration_s", "num_segments"]):
        audio_s += pc.sum(batch.column(0)).as_py() or 0.0
        segments += pc.sum(batch.column(1)).as_py() or 0
    live = catalogue.live()
    tables = [name for name in _folders(catalogue.location) if name.startswith(FINGERPRINTS)]
    runs = catalogue.runs()
    sweeps, unfinished = _sweeps(catalogue)
    return Status(
        tracks=len(live),
        audio_s=audio_s,
        segments=segments,
        rejects=catalogue.rejects().num_rows,
        models=[_model(catalogue, name.removesuffix(".lance"), live) for name in tables],
        sweeps=sweeps,
        unfinished=unfinished,
        found=_found(catalogue, sweeps[-1]) if sweeps else {},
        unswept=_unswept(catalogue, sweeps[-1]["sweep_id"], live) if sweeps else len(live),
        last_run=runs[-1] if runs else None,
        at_work=_at_work(catalogue.location.join(lease.NAME)),
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


def _sweeps(catalogue: Catalogue) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """The heads of the sweeps that ended; the parts of those without one: they are under way, or were killed."""
    ended, unfinished = [], {}
    for name in _folders(detections.folder(catalogue)):
        head = detections.folder(catalogue, name).join(detections.HEAD)
        if head.exists():
            ended.append({"sweep_id": name, **json.loads(head.read_bytes())})
        else:
            unfinished[name] = len(detections.parts(catalogue, name))
    return ended, unfinished


def _found(catalogue: Catalogue, head: dict[str, Any]) -> dict[str, int]:
    """Detections of a sweep by kind, of what it reports: its tables hold every verified pair."""
    least = head.get("config", {}).get("score", {}).get("threshold", 0.0)
    counts: dict[str, int] = {}
    for part in detections.parts(catalogue, head["sweep_id"]):
        filesystem, path = part.arrow()
        rows = pq.read_table(path, filesystem=filesystem, columns=["kind", "score"], partitioning=None)
        for value in pc.value_counts(rows.filter(pc.field("score") >= least).column("kind")).to_pylist():
            counts[value["values"]] = counts.get(value["values"], 0) + value["counts"]
    return counts


def _unswept(catalogue: Catalogue, sweep_id: str, live: dict[str, str]) -> int:
    """Live tracks that a sweep did not know, or knew with other audio."""
    known = detections.folder(catalogue, sweep_id).join(incremental.TRACKS_FILE)
    if not known.exists():
        return 0
    table = pa.ipc.open_file(pa.py_buffer(known.read_bytes())).read_all()
    pairs = (table.column(name).to_pylist() for name in incremental.KNOWN)
    return len(set(live.items()) - set(zip(*pairs, strict=True)))


def _at_work(file: Location) -> dict[str, Any] | None:
    """The lease in `file`, None where there is none or its run died long ago."""
    if not file.exists():
        return None
    held: dict[str, Any] = json.loads(file.read_bytes())
    return held if held["expires"] > time.time() else None
