"""The sweeps of a catalogue and their detections."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from asid_core.matching.detection import Detection
from asid_core.matching.relations import turned
from asid_core.schema import DETECTIONS
from pipelines.store.catalogue import Catalogue
from pipelines.store.files import damaged, parquet, read_arrow, read_json
from pipelines.store.location import Location
from pipelines.store.pairs import PAIR

HEAD = "sweep.json"
TRACKS_FILE = "tracks.arrow"
READERS = 16  # threads that open part files
JOINED_BATCHES = 1000  # a batch of few rows takes 15 kB

Read = TypeVar("Read")


def folder(catalogue: Catalogue, sweep_id: str = "") -> Location:
    """The folder of a sweep's parts; without a sweep id, that of all sweeps."""
    place = catalogue.location.join("detections")
    return place.join(sweep_id) if sweep_id else place


def ids(catalogue: Catalogue) -> Sequence[str]:
    """Ids of all sweeps, finished or not, oldest first."""
    return folder(catalogue).folders()


def sweeps(catalogue: Catalogue) -> list[dict[str, Any]]:
    """The contents of each sweep.json, oldest first. A sweep without one is not finished."""
    heads = []
    for sweep_id in ids(catalogue):
        with contextlib.suppress(FileNotFoundError):
            head = read_json(place := folder(catalogue, sweep_id).join(HEAD))
            if head.get("sweep_id") != sweep_id:
                raise damaged(place, f"it is of sweep {head.get('sweep_id')!r}")
            heads.append(head)
    return heads


def delete(catalogue: Catalogue, sweep_id: str) -> None:
    """Delete a sweep. Driver only. sweep.json goes first, so that a partly deleted sweep counts as unfinished."""
    place = folder(catalogue, sweep_id)
    names = [entry.name for entry in place.list() if entry.kind == "file"]
    for some in ([name for name in names if name == HEAD], [name for name in names if name != HEAD]):
        catalogue.check_writing()
        place.delete_below(some)
    if not place.is_s3:  # S3 has no folders
        with contextlib.suppress(OSError):
            os.rmdir(place.uri)


def threshold(head: dict[str, Any]) -> float:
    """The reporting threshold of a sweep, from its sweep.json. Its tables hold pairs below it too."""
    return float(head.get("config", {}).get("score", {}).get("threshold", 0.0))


def table(detections: Iterable[Detection], sweep_id: str) -> pa.Table:
    """Detections of a sweep as a table (schema.DETECTIONS)."""
    return pa.Table.from_pylist([one.row() | {"sweep_id": sweep_id} for one in detections], schema=DETECTIONS)


def ranked(rows: pa.Table, sweep_id: str) -> pa.Table:
    """`rows` (schema.DETECTIONS) by query, best first, as those of a sweep, with their `rank` among these rows."""
    rows = rows.sort_by([("query_id", "ascending"), ("score", "descending")])
    query, reference = (
        rows[name].combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
        for name in ("query_id", "reference_id")
    )
    _, first, pair = np.unique(query * (len(rows) + 1) + reference, return_index=True, return_inverse=True)
    of_query = np.sort(query[first])  # queries are numbered in the order of their rows
    place = np.empty(len(first), np.int64)
    place[np.argsort(first)] = np.arange(len(first)) - np.searchsorted(of_query, of_query)
    for name, values in (("rank", place[pair] + 1), ("sweep_id", pa.repeat(sweep_id, len(rows)))):
        field = DETECTIONS.field(name)
        rows = rows.set_column(rows.schema.get_field_index(name), field, pa.array(values).cast(field.type))
    return rows


def by_direction(rows: pa.Table, sweep_id: str) -> pa.Table:
    """`rows` (schema.DETECTIONS), each with the probable sampler as the query, `ranked`."""
    samples = pc.fill_null(pc.greater_equal(rows["direction"], 0.5), True)
    return ranked(turned(rows, pc.invert(samples)), sweep_id)


def both_ways(rows: pa.Table, sweep_id: str) -> pa.Table:
    """`rows` (schema.DETECTIONS) and the same with query and reference swapped, `ranked`.

    As if each track had been searched in all others.
    """
    return ranked(pa.concat_tables([rows, turned(rows, pa.repeat(True, len(rows)))]), sweep_id)


def part(catalogue: Catalogue, sweep_id: str, shard: int) -> Location:
    """The part file of a shard of a sweep, which may not exist yet."""
    return folder(catalogue, sweep_id).join(f"part-{shard:06d}.parquet")


def parts(catalogue: Catalogue, sweep_id: str) -> list[Location]:
    """The part files of a sweep, in order of shards."""
    return [folder(catalogue, sweep_id).join(name) for name in part_sizes(catalogue, sweep_id)]


def part_sizes(catalogue: Catalogue, sweep_id: str) -> dict[str, int]:
    """Name -> size in bytes of each part file of a sweep, in order of shards."""
    found = [entry for entry in folder(catalogue, sweep_id).list() if entry.name.endswith(".parquet")]
    return {entry.name: entry.size_bytes or 0 for entry in sorted(found, key=lambda entry: entry.name)}


def batches(catalogue: Catalogue, sweep_id: str, min_score: float = 0.0) -> Iterator[pa.RecordBatch]:
    """Stream the rows (schema.DETECTIONS) of a sweep that score at least `min_score`.

    Raises CatalogueError if a part is damaged, or if rows that sweep.json counts are missing.
    """
    rows_read = 0
    for part in parts(catalogue, sweep_id):
        with parquet(part) as file:
            for batch in file.iter_batches():
                rows = in_schema(batch)
                rows_read += rows.num_rows
                yield rows.filter(pc.greater_equal(rows.column("score"), min_score))
    with contextlib.suppress(FileNotFoundError):  # the sweep has not finished
        counted = read_json(folder(catalogue, sweep_id).join(HEAD)).get("detections", rows_read)
        if counted != rows_read:
            raise damaged(folder(catalogue, sweep_id), f"it holds {rows_read:,} of {counted:,} rows")


def in_schema(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch with the columns of schema.DETECTIONS. Those that an older sweep lacks are null."""
    there = set(batch.schema.names)
    columns = [
        batch.column(field.name).cast(field.type) if field.name in there else pa.nulls(batch.num_rows, field.type)
        for field in DETECTIONS
    ]
    return pa.RecordBatch.from_arrays(columns, schema=DETECTIONS)


@dataclass(frozen=True)
class Counts:
    """Number of rows, and of those that reach the threshold by kind. A sweep keeps them in its sweep.json."""

    rows: int = 0
    reported: Mapping[str, int] = field(default_factory=dict)

    @staticmethod
    def of(rows: pa.Table, threshold: float) -> Counts:
        """The counts of some rows, of which `kind` and `score` are needed."""
        kinds = rows.filter(pc.greater_equal(rows["score"], threshold))["kind"]
        return Counts(rows.num_rows, {value["values"]: value["counts"] for value in pc.value_counts(kinds).to_pylist()})

    def __add__(self, other: Counts) -> Counts:
        both = {kind: self.reported.get(kind, 0) + other.reported.get(kind, 0) for kind in other.reported}
        return Counts(self.rows + other.rows, {**self.reported, **both})


def count(parts: Iterable[Location], threshold: float) -> Counts:
    """The counts of some parts."""

    def read(part: Location) -> Counts:
        with parquet(part) as file:
            return Counts.of(file.read(columns=["kind", "score"]), threshold)

    return sum(of_parts(read, parts), Counts())


def of_parts(read: Callable[[Location], Read], parts: Iterable[Location]) -> Iterator[Read]:
    """What `read` returns for each part, in order. Reads several at once: on S3 most of the time is waiting."""
    with ThreadPoolExecutor(READERS) as readers:
        yield from readers.map(read, parts)


def detections(catalogue: Catalogue, sweep_id: str, min_score: float = 0.0) -> pa.Table:
    """All `batches` as one table in memory, some 200 bytes per row."""
    tables = [DETECTIONS.empty_table()]
    every = batches(catalogue, sweep_id, min_score)
    while some := list(itertools.islice(every, JOINED_BATCHES)):
        tables.append(pa.Table.from_batches(some).cast(DETECTIONS).combine_chunks())
    return pa.concat_tables(tables)


def write_tracks(catalogue: Catalogue, sweep_id: str, tracks: pa.Table) -> None:
    """Record the tracks (columns track_id, content_hash) that a sweep compares."""
    catalogue.check_writing()
    known = tracks.select(PAIR)
    with (
        folder(catalogue, sweep_id).join(TRACKS_FILE).writing() as stream,
        pa.ipc.new_file(stream, known.schema) as file,
    ):
        file.write_table(known)


def finish(catalogue: Catalogue, head: dict[str, Any]) -> None:
    """Write the sweep.json of a sweep, which makes it visible to readers. Call after all parts are written."""
    catalogue.check_writing()
    folder(catalogue, head["sweep_id"]).join(HEAD).write_bytes(json.dumps(head, indent=2).encode())


def read_tracks(catalogue: Catalogue, sweep_id: str) -> pa.Table:
    """The table that `write_tracks` wrote. Raises FileNotFoundError."""
    return read_arrow(folder(catalogue, sweep_id).join(TRACKS_FILE))
