"""What a new sweep may take over from an earlier one: the detections of pairs of tracks that are both unchanged.

New tracks are searched for everywhere and everywhere for new tracks; with the old detections that is a full sweep. How
strong an old hit is was told against the tracks of its time: `coarse_score` stays as it was then.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from asid_core.schema import DETECTIONS
from pipelines import detections
from pipelines.catalogue import Catalogue

TRACKS_FILE = "tracks.arrow"
KNOWN = ["track_id", "content_hash"]


@dataclass(frozen=True)
class Base:
    """An earlier sweep. was: today's track_id -> its id then, of the tracks it knew with the same audio."""

    sweep_id: str
    was: dict[str, str]
    parts: tuple[tuple[str, str, str], ...]  # name, first and last query_id


def write_tracks(catalogue: Catalogue, sweep_id: str, tracks: pa.Table) -> None:
    """Record which tracks (columns track_id, content_hash) a sweep knew."""
    known = tracks.select(KNOWN)
    with (
        detections.folder(catalogue, sweep_id).join(TRACKS_FILE).writing() as stream,
        pa.ipc.new_file(stream, known.schema) as file,
    ):
        file.write_table(known)


def find_base(catalogue: Catalogue, settings: str, tracks: pa.Table, renames: bool) -> Base | None:
    """The newest sweep that ended under the same `settings`, None where there is none.

    renames: whether a track that has another id now is known by its audio.
    """
    ended = [head for head in detections.sweeps(catalogue) if head.get("settings") == settings]
    if not ended:
        return None
    sweep_id = ended[-1]["sweep_id"]
    data = detections.folder(catalogue, sweep_id).join(TRACKS_FILE).read_bytes()
    then, now = _pairs(pa.ipc.open_file(pa.py_buffer(data)).read_all()), _pairs(tracks)
    gone = {content_hash: track_id for track_id, content_hash in then - now} if renames else {}
    was = {}
    for track_id, content_hash in sorted(now):
        if (track_id, content_hash) in then:
            was[track_id] = track_id
        elif content_hash in gone:
            was[track_id] = gone.pop(content_hash)
    return Base(sweep_id, was, tuple(_spans(catalogue, sweep_id)))


def _pairs(tracks: pa.Table) -> set[tuple[str, str]]:
    return set(zip(*(tracks[name].to_pylist() for name in KNOWN), strict=True))


def _spans(catalogue: Catalogue, sweep_id: str) -> Iterable[tuple[str, str, str]]:
    """First and last query of each part: parts are runs of tracks, so most need not be opened for a shard."""
    for part in detections.parts(catalogue, sweep_id):
        filesystem, path = part.arrow()
        with filesystem.open_input_file(path) as stream, pq.ParquetFile(stream) as file:
            queries = file.read(columns=["query_id"])["query_id"].to_pylist()
        if queries:
            yield part.name, min(queries), max(queries)


def carried(catalogue: Catalogue, base: Base, track_ids: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """Rows (schema.DETECTIONS, under today's ids) of these queries whose query and reference are both unchanged."""
    found: dict[str, list[dict[str, Any]]] = {}
    wanted = {base.was[track_id]: track_id for track_id in track_ids if track_id in base.was}
    now = {old: new for new, old in base.was.items()}
    for name, first, last in base.parts:
        if not any(first <= track_id <= last for track_id in wanted):
            continue
        filesystem, path = detections.folder(catalogue, base.sweep_id).join(name).arrow()
        with filesystem.open_input_file(path) as stream, pq.ParquetFile(stream) as file:
            rows = file.read(columns=DETECTIONS.names).to_pylist()
        for row in rows:
            if row["query_id"] in wanted and row["reference_id"] in now:
                ids = {"query_id": wanted[row["query_id"]], "reference_id": now[row["reference_id"]]}
                found.setdefault(ids["query_id"], []).append(row | ids)
    return found
