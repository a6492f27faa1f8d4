"""The sweeps of a catalogue that ended, and what they found."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from asid_core.schema import DETECTIONS
from pipelines.catalogue import Catalogue
from pipelines.storage import Location

HEAD = "sweep.json"


def folder(catalogue: Catalogue, sweep_id: str = "") -> Location:
    """Where a sweep's parts are, or all sweeps."""
    place = catalogue.location.join("detections")
    return place.join(sweep_id) if sweep_id else place


def sweeps(catalogue: Catalogue) -> list[dict[str, Any]]:
    """Each sweep.json, oldest first (ids sort by the time of the start); a sweep without one was not finished."""
    place = folder(catalogue)
    heads = sorted(entry.name for entry in place.list() if entry.name.endswith("/" + HEAD))
    return [json.loads(place.join(name).read_bytes()) for name in heads]


def latest_sweep(catalogue: Catalogue) -> str | None:
    """Id of the newest sweep that ended."""
    ended = sweeps(catalogue)
    return ended[-1]["sweep_id"] if ended else None


def ranked(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of one query by falling score, references numbered by their best."""
    ranks: dict[str, int] = {}
    ordered = sorted(rows, key=lambda row: -row["score"])
    return [row | {"rank": ranks.setdefault(row["reference_id"], len(ranks) + 1)} for row in ordered]


def parts(catalogue: Catalogue, sweep_id: str) -> list[Location]:
    """A sweep's part files, in order of shards."""
    place = folder(catalogue, sweep_id)
    return [place.join(name) for name in sorted(e.name for e in place.list() if e.name.endswith(".parquet"))]


def batches(catalogue: Catalogue, sweep_id: str, min_score: float = 0.0) -> Iterator[pa.RecordBatch]:
    """Rows (schema.DETECTIONS) of a sweep that score at least `min_score`, streamed."""
    for part in parts(catalogue, sweep_id):
        filesystem, path = part.arrow()
        with filesystem.open_input_file(path) as stream, pq.ParquetFile(stream) as file:
            for batch in file.iter_batches(columns=DETECTIONS.names):
                yield batch.filter(pc.greater_equal(batch.column("score"), min_score))


def detections(catalogue: Catalogue, sweep_id: str, min_score: float = 0.0) -> pa.Table:
    """`batches` as one table: some 200 bytes a row."""
    found = list(batches(catalogue, sweep_id, min_score))
    return pa.Table.from_batches(found).cast(DETECTIONS) if found else DETECTIONS.empty_table()
