"""The catalogue: all state of a corpus under one URI, and the commit rule.

Only the driver commits, and only while it holds the lease: two `merge_insert` of one key at once may both add it.
`lance` is imported inside functions, because it is not fork-safe and must be imported after `ray.init`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from asid_core.config import SegmentConfig
from asid_core.schema import REJECTS, TRACKS
from pipelines.store.errors import CatalogueError, StoreFailure, redacted
from pipelines.store.files import damage_named, damaged, parquet, read_json, refuse_pipes
from pipelines.store.geometry import FORMAT, Geometry
from pipelines.store.lease import Lease
from pipelines.store.location import Location
from pipelines.store.pairs import EMPTY, PAIR
from pipelines.store.run_log import RunLog

if TYPE_CHECKING:
    from lance import LanceDataset

log = logging.getLogger(__name__)

WITHDRAWN = "withdrawn"  # stage of a reject row that cancels the earlier ones of its track
IDS_PER_FILTER = 1000
INDEXED_TRACKS = 50_000  # from here on, the tracks table has an index on track_id; reading fewer takes milliseconds


def new_run_id(verb: str) -> str:
    """A new run id, which sorts by time: UTC to the millisecond, the verb, four random hex digits."""
    now = time.time()
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now))
    return f"{stamp}.{int(now * 1000) % 1000:03d}Z-{verb}-{secrets.token_hex(2)}"


def quoted(text: str) -> str:
    """`text` as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def is_one_of(column: str, values: Sequence[str]) -> str:
    """An SQL filter for rows whose `column` is one of `values`."""
    return f"{column} IN ({', '.join(map(quoted, values))})"


def _with_fields(batch: pa.RecordBatch, wanted: Sequence[pa.Field]) -> pa.RecordBatch:
    """The `wanted` columns of a batch. Those that an older table lacks are null."""
    there = set(batch.schema.names)
    columns = [
        batch.column(f.name).cast(f.type) if f.name in there else pa.nulls(batch.num_rows, f.type) for f in wanted
    ]
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(wanted))


class Catalogue:
    """An open catalogue. To change it, enter `writing`.

    create: make it if it does not exist. geometry: core and margin of its segments.
    Raises CatalogueError if there is no catalogue and `create` is False, if it is damaged, or if its geometry differs.
    """

    def __init__(self, uri: str, create: bool = False, geometry: SegmentConfig | None = None) -> None:
        self.location = Location(uri)
        self._lease: Lease | None = None
        head = self._head = self.location.join("catalogue.json")
        if not head.exists():
            if not create:
                raise CatalogueError(f"no catalogue at {self.location}. Make one with `asid segment` or `asid run`.")
            self._check_file_system()
            head.write_bytes(Geometry.of(geometry or SegmentConfig()).to_json())
        self.geometry = Geometry.read(head)
        if geometry is not None:
            self.geometry.check(geometry)

    @contextlib.contextmanager
    def writing(self, verb: str) -> Iterator[Catalogue]:
        """`with catalogue.writing("embed"):` holds the lease, which every commit needs; a thread renews it.

        Nested blocks share one lease, so a job of several stages holds the catalogue throughout. What is logged
        meanwhile is kept in runs/<run_id>.log.
        Raises LeaseError if another run holds the lease.
        """
        if self._lease is not None:
            yield self
            return
        self._check_file_system()
        kept = self.location.join("runs", f"{new_run_id(verb)}.log")
        with Lease(self.location, verb) as self._lease, RunLog(kept):
            try:
                yield self
            finally:
                self._lease = None

    def _check_file_system(self) -> None:
        """Raise CatalogueError on a disk without hard links, which Lance needs for local commits."""
        if not self.location.has_hard_links():
            raise CatalogueError(
                f"a catalogue needs hard links, which the disk of {self.location} does not have (like exFAT, FAT and "
                "some network disks). Put the catalogue on another disk or on s3://; the corpus may stay."
            )

    def check_writing(self) -> None:
        """Called before each commit. Raises LeaseError if the lease was lost, CatalogueError outside `writing`."""
        if self._lease is None:
            raise CatalogueError(f"{self.location} is not open for writing; enter Catalogue.writing() first")
        self._lease.check()

    @property
    def holds_lease(self) -> bool:
        """Whether this process is in `writing`."""
        return self._lease is not None

    def table(self, name: str) -> LanceDataset | None:
        """The newest version of the Lance table `name`, such as `fingerprints-<model_id>`; None before its first row.

        Raises StoreFailure if it cannot be read.
        """
        import lance

        place = self.location.join(f"{name}.lance")
        refuse_pipes(place)
        uri, options = place.lance()
        try:
            return lance.dataset(uri, storage_options=options)
        except ValueError as error:  # pylance raises this both for a missing table and for a failing store
            if "was not found" in str(error):
                return None
            raise StoreFailure(f"{uri}: {redacted(str(error))}") from error
        except BaseException as error:  # PanicException is not an Exception and cannot be imported
            if type(error).__name__ != "PanicException":
                raise
            raise damaged(place, error) from None

    def upsert(self, name: str, rows: pa.Table, on: str) -> None:
        """Add rows to a Lance table, replacing those with the same key `on`, in one atomic commit. Driver only."""
        import lance

        if not rows.num_rows:
            return
        self.check_writing()
        table = self.table(name)
        if table is None:
            uri, options = self.location.join(f"{name}.lance").lance()
            lance.write_dataset(rows, uri, storage_options=options)
        else:
            table.merge_insert(on).when_matched_update_all().when_not_matched_insert_all().execute(rows)

    def delete(self, name: str, column: str, values: Iterable[str]) -> None:
        """Remove the rows whose `column` is one of `values`. Driver only."""
        values = list(values)
        table = self.table(name)
        if table is None:
            return
        for start in range(0, len(values), IDS_PER_FILTER):
            self.check_writing()
            table.delete(is_one_of(column, values[start : start + IDS_PER_FILTER]))

    def tracks(
        self,
        columns: Sequence[str] | None = None,
        filter: str | None = None,
        batch_rows: int = 8192,
        version: int | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Stream the live tracks (schema.TRACKS), or those of an earlier version. `filter` is SQL: `year < 1990`."""
        table = self.table("tracks")
        if table is None:
            return
        if version is not None:
            table = table.checkout_version(version)
        wanted = [TRACKS.field(name) for name in (TRACKS.names if columns is None else columns)]
        there = [field.name for field in wanted if field.name in table.schema.names]
        with damage_named(self.location.join("tracks.lance")):
            for batch in table.to_batches(columns=there, filter=filter, batch_size=batch_rows):
                yield _with_fields(batch, wanted)

    def tracks_of(self, track_ids: Sequence[str]) -> pa.Table:
        """The live tracks among `track_ids`: found by the index if they are few, in one pass over all if not."""
        if len(track_ids) <= IDS_PER_FILTER:
            found = self.tracks(filter=is_one_of("track_id", track_ids)) if len(track_ids) else iter(())
            return pa.Table.from_batches(found, schema=TRACKS)
        wanted = pa.array(track_ids, pa.string())
        batches = (
            batch.filter(pc.is_in(batch.column("track_id"), value_set=wanted))
            for batch in self.tracks(batch_rows=len(track_ids))
        )
        return pa.Table.from_batches(batches, schema=TRACKS)

    def live(self) -> pa.Table:
        """The track_id and content_hash of every live track, some 60 bytes each."""
        batches = list(self.tracks(columns=PAIR))
        return pa.Table.from_batches(batches) if batches else EMPTY

    def count_tracks(self) -> int:
        table = self.table("tracks")
        return 0 if table is None else int(table.count_rows())

    def commit_tracks(self, rows: pa.Table) -> None:
        """Make tracks visible (schema.TRACKS, one row per track_id), replacing earlier ones. Driver only."""
        self._add_columns("tracks", TRACKS)
        self.upsert("tracks", rows.cast(TRACKS), on="track_id")

    def index_tracks(self) -> None:
        """Build or update the index on track_id of a large tracks table, for `tracks_of` and commits. Driver only."""
        table: Any = self.table("tracks")
        if table is None or table.count_rows() < INDEXED_TRACKS:
            return
        self.check_writing()
        if any(index["fields"] == ["track_id"] for index in table.list_indices()):
            table.optimize.optimize_indices()
        else:
            table.create_scalar_index("track_id", "BTREE")

    def _add_columns(self, name: str, schema: pa.Schema) -> None:
        """Add the columns that a table of an older version lacks, filled with null."""
        table = self.table(name)
        missing = [] if table is None else [field for field in schema if field.name not in table.schema.names]
        if table is not None and missing:
            table.add_columns(missing)

    def migrate(self) -> int:
        """Bring the catalogue to the format of this asid; returns its old one. Driver only.

        In format 2 it may have tags (tags.py), and `tracks` has the columns that tables of older versions lack.
        """
        self.check_writing()
        before = self.geometry.format
        if before < FORMAT:
            self._add_columns("tracks", TRACKS)
            self.geometry = dataclasses.replace(self.geometry, format=FORMAT)
            self._head.write_bytes(self.geometry.to_json())
        return before

    def delete_tracks(self, track_ids: Iterable[str]) -> None:
        """Remove tracks from the catalogue. `maintenance.delete_orphans` deletes their segments later. Driver only."""
        self.delete("tracks", "track_id", track_ids)

    # rejects

    def write_rejects(self, run_id: str, rows: Sequence[dict[str, Any]]) -> None:
        """Record files that could not be used (schema.REJECTS). Driver only."""
        if not rows:
            return
        self.check_writing()
        part = self.location.join("rejects", run_id, f"part-{time.time_ns()}-{secrets.token_hex(2)}.parquet")
        with part.writing() as stream:
            pq.write_table(pa.Table.from_pylist(list(rows), schema=REJECTS), stream)

    def withdraw_rejects(self, run_id: str, track_ids: Iterable[str]) -> None:
        """Cancel the rejects of tracks that were accepted since or are no longer in the corpus. Driver only."""
        empty = {"uri": "", "stage": WITHDRAWN, "error_type": "", "error": ""}
        self.write_rejects(run_id, [{"track_id": track_id, **empty} for track_id in track_ids])

    def rejects(self) -> pa.Table:
        """The current rejects (schema.REJECTS): the latest of each track, none for tracks that are live."""
        folder = self.location.join("rejects")
        names = sorted(e.name for e in folder.list() if e.kind == "file" and e.name.endswith(".parquet"))
        latest: dict[str, dict[str, Any]] = {}
        for name in names:  # run ids and part names sort by time
            for row in self._read_rejects(folder.join(name)).to_pylist():
                latest[row["track_id"]] = row
        accepted = set(self.tracks_of(list(latest)).column("track_id").to_pylist()) if latest else set()
        rows = [row for key, row in latest.items() if row["stage"] != WITHDRAWN and key not in accepted]
        return pa.Table.from_pylist(rows, schema=REJECTS)

    @staticmethod
    def _read_rejects(part: Location) -> pa.Table:
        with parquet(part) as file:
            return file.read()

    def record_run(self, run_id: str, record: dict[str, Any]) -> None:
        """Write runs/<run_id>.json: what ran, with which config, and how it ended. Driver only."""
        self.check_writing()
        text = json.dumps({"run_id": run_id, **record}, indent=2, ensure_ascii=False)
        self.location.join("runs", f"{run_id}.json").write_bytes(text.encode())

    def runs_of(self, verb: str) -> Iterator[dict[str, Any]]:
        """The recorded runs of a stage, or all for "", newest first, one file at a time."""
        folder = self.location.join("runs")
        names = (e.name for e in folder.list() if e.kind == "file" and e.name.endswith(".json"))
        for name in sorted((name for name in names if not verb or f"-{verb}-" in name), reverse=True):
            yield read_json(folder.join(name))

    def runs(self) -> list[dict[str, Any]]:
        """Every recorded run, oldest first."""
        return [*self.runs_of("")][::-1]
