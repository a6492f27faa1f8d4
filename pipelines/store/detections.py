"""The sweeps of a catalogue that ended, and what they found."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from asid_core.matching.detection import Detection
from asid_core.schema import DETECTIONS
from pipelines.store.catalogue import Catalogue
from pipelines.store.files import damaged, parquet, read_arrow, read_json
from pipelines.store.location import Location

HEAD = "sweep.json"
TRACKS_FILE = "tracks.arrow"
TRACK_COLUMNS = ["track_id", "content_hash"]


def folder(catalogue: Catalogue, sweep_id: str = "") -> Location:
    """Where a sweep's parts are, or all sweeps."""
    place = catalogue.location.join("detections")
    return place.join(sweep_id) if sweep_id else place


def ids(catalogue: Catalogue) -> Sequence[str]:
    """Every sweep, whether it ended or not, oldest first: ids sort by the time of the start."""
    return folder(catalogue).folders()


def sweeps(catalogue: Catalogue) -> list[dict[str, Any]]:
    """Each sweep.json, oldest first; a sweep without one was not finished."""
    heads = []
    for sweep_id in ids(catalogue):
        with contextlib.suppress(FileNotFoundError):
            head = read_json(place := folder(catalogue, sweep_id).join(HEAD))
            if head.get("sweep_id") != sweep_id:
                raise damaged(place, f"it is of sweep {head.get('sweep_id')!r}")
            heads.append(head)
    return heads


def threshold(head: dict[str, Any]) -> float:
    """The score from which on a sweep (its sweep.json) itself reports; its tables hold every verified pair."""
    return float(head.get("config", {}).get("score", {}).get("threshold", 0.0))


def table(found: Iterable[Detection], sweep_id: str) -> pa.Table:
    """Rows (schema.DETECTIONS) of a sweep."""
    return pa.Table.from_pylist([one.row() | {"sweep_id": sweep_id} for one in found], schema=DETECTIONS)


def part(catalogue: Catalogue, sweep_id: str, shard: int) -> Location:
    """Where a shard of a sweep is or will be."""
    return folder(catalogue, sweep_id).join(f"part-{shard:06d}.parquet")


def parts(catalogue: Catalogue, sweep_id: str) -> list[Location]:
    """A sweep's part files, in order of shards."""
    place = folder(catalogue, sweep_id)
    return [place.join(name) for name in sorted(e.name for e in place.list() if e.name.endswith(".parquet"))]


def batches(catalogue: Catalogue, sweep_id: str, min_score: float = 0.0) -> Iterator[pa.RecordBatch]:
    """Rows (schema.DETECTIONS) of a sweep that score at least `min_score`, streamed.

    Raises CatalogueError where a part is damaged, or rows that sweep.json counts are missing.
    """
    rows_read = 0
    for found in parts(catalogue, sweep_id):
        with parquet(found) as file:
            for batch in file.iter_batches():
                rows = in_schema(batch)
                rows_read += rows.num_rows
                yield rows.filter(pc.greater_equal(rows.column("score"), min_score))
    with contextlib.suppress(FileNotFoundError):  # a sweep that has not ended
        counted = read_json(folder(catalogue, sweep_id).join(HEAD)).get("detections", rows_read)
        if counted != rows_read:
            raise damaged(folder(catalogue, sweep_id), f"it holds {rows_read:,} of {counted:,} rows")


def in_schema(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The columns of schema.DETECTIONS; one that came into it after the sweep is null."""
    there = set(batch.schema.names)
    columns = [
        batch.column(field.name).cast(field.type) if field.name in there else pa.nulls(batch.num_rows, field.type)
        for field in DETECTIONS
    ]
    return pa.RecordBatch.from_arrays(columns, schema=DETECTIONS)


def count(catalogue: Catalogue, sweep_id: str) -> int:
    """Rows of a sweep, from the ends of its part files alone."""
    rows = 0
    for found in parts(catalogue, sweep_id):
        with parquet(found) as file:
            rows += file.metadata.num_rows
    return rows


def detections(catalogue: Catalogue, sweep_id: str, min_score: float = 0.0) -> pa.Table:
    """`batches` as one table: some 200 bytes a row."""
    found = list(batches(catalogue, sweep_id, min_score))
    return pa.Table.from_batches(found).cast(DETECTIONS) if found else DETECTIONS.empty_table()


def write_tracks(catalogue: Catalogue, sweep_id: str, tracks: pa.Table, shards: Sequence[Sequence[str]] = ()) -> None:
    """Record which tracks (columns track_id, content_hash) a sweep knew, and which of them were queries of a shard."""
    catalogue.check_writing()
    of_query = {track_id: number for number, shard in enumerate(shards) for track_id in shard}
    known = tracks.select(TRACK_COLUMNS)
    numbers = pa.array([of_query.get(track_id) for track_id in known["track_id"].to_pylist()], pa.int32())
    known = known.append_column("shard", numbers)
    with (
        folder(catalogue, sweep_id).join(TRACKS_FILE).writing() as stream,
        pa.ipc.new_file(stream, known.schema) as file,
    ):
        file.write_table(known)


def finish(catalogue: Catalogue, head: dict[str, Any]) -> None:
    """Write a sweep's sweep.json: all its parts are there, and readers may use it."""
    catalogue.check_writing()
    folder(catalogue, head["sweep_id"]).join(HEAD).write_bytes(json.dumps(head, indent=2).encode())


def read_tracks(catalogue: Catalogue, sweep_id: str) -> pa.Table:
    """What `write_tracks` has recorded. Raises FileNotFoundError."""
    return read_arrow(folder(catalogue, sweep_id).join(TRACKS_FILE))


def pairs(tracks: pa.Table) -> list[tuple[str, str]]:
    """(track_id, content_hash) of each row."""
    return list(zip(*(tracks[name].to_pylist() for name in TRACK_COLUMNS), strict=True))
