"""The Parquet part files of segments (schema.SEGMENTS): written by tasks, read by whoever needs audio."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from asid_core.config import SAMPLE_RATE_HZ
from asid_core.schema import SEGMENTS
from asid_core.signal.pcm import Segment
from pipelines.store.catalogue import Catalogue
from pipelines.store.files import parquet
from pipelines.store.location import Location

ROWS_PER_WRITE = 16  # of 1.4 MB each
ROWS_PER_GROUP = 1  # so that a reader can take one segment; older files have 16 a group


class SegmentWriter:
    """The part files of some tracks, there only once the `with` block has ended well and only if anything was added.

    Short tracks share the file `shared`. A track of ROWS_PER_WRITE segments and more gets a file of its own beside it,
    so that nothing stays of one that turns out to be unusable after hours of it have been written.
    """

    def __init__(self, shared: Location) -> None:
        self._shared = _PartFile(shared)
        self._own: list[_PartFile] = []  # of long tracks; the last may be of the current one
        self._track_id: str | None = None
        self._rows: list[dict[str, Any]] = []  # of the current track

    def __enter__(self) -> SegmentWriter:
        return self

    @property
    def part(self) -> Location:
        """The file that the current track is in."""
        return self._own[-1].place if self._is_long else self._shared.place

    @property
    def _is_long(self) -> bool:
        return bool(self._own) and self._own[-1].track_id == self._track_id

    def add(self, track_id: str, segment: Segment) -> None:
        """Add the next segment of a track; tracks come one after the other."""
        if track_id != self._track_id:
            self._flush()
            self._track_id = track_id
        self._rows.append(
            {
                "track_id": track_id,
                "segment_index": segment.index,
                "start_s": segment.start_sample / SAMPLE_RATE_HZ,
                "lead_samples": segment.lead_samples,
                "core_samples": segment.core_samples,
                "num_samples": len(segment.pcm),
                "pcm": segment.pcm.astype("<i2", copy=False).tobytes(),
            }
        )
        if len(self._rows) >= ROWS_PER_WRITE:
            if not self._is_long:
                name = f"{self._shared.place.name.removesuffix('.parquet')}-{uuid.uuid4().hex[:8]}.parquet"
                self._own.append(_PartFile(self._shared.place.parent.join(name), track_id))
            self._flush()

    def forget(self, track_id: str) -> None:
        """Drop a track of which the last segments came: it is refused, or comes again."""
        if track_id == self._track_id:
            self._rows = []
            if self._is_long:
                self._own.pop().drop()

    def _flush(self) -> None:
        (self._own[-1] if self._is_long else self._shared).write(self._rows)
        self._rows = []

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.ExitStack() as stack:
            for file in (self._shared, *self._own):
                stack.callback(file.drop)  # of one that was closed, nothing is left to drop
            if error is None:
                self._flush()
                for file in (self._shared, *self._own):
                    file.close()


class _PartFile:
    """One part file. `track_id`: of the only track in it."""

    def __init__(self, place: Location, track_id: str | None = None) -> None:
        self.place, self.track_id = place, track_id
        self._stack = contextlib.ExitStack()
        self._writer: pq.ParquetWriter | None = None

    def write(self, rows: list[dict[str, Any]]) -> None:
        if not rows:
            return
        if self._writer is None:
            # audio does not compress, and its smallest and largest values say nothing
            others = [name for name in SEGMENTS.names if name != "pcm"]
            self._writer = pq.ParquetWriter(
                self._stack.enter_context(self.place.writing()),
                SEGMENTS,
                compression={name: "zstd" for name in others} | {"pcm": "none"},
                use_dictionary=["track_id"],
                write_statistics=others,
            )
        self._writer.write_table(pa.Table.from_pylist(rows, schema=SEGMENTS), row_group_size=ROWS_PER_GROUP)

    def close(self) -> None:
        """Make the file visible."""
        with self._stack:
            if self._writer is not None:
                self._writer.close()
        self._writer = None

    def drop(self) -> None:
        """Leave nothing of it."""
        if self._writer is not None:
            with contextlib.suppress(OSError):  # the disk may be full
                self._writer.close()
        with contextlib.suppress(_Dropped), self._stack:
            raise _Dropped


class _Dropped(Exception):
    """Ends the writing of a file that is not wanted."""


def read_segments(
    catalogue: Catalogue, tracks: Iterable[tuple[str, Sequence[str]]], segments: Collection[int] | None = None
) -> Iterator[pa.RecordBatch]:
    """The segments of `tracks`, pairs of (track_id, segment_files as `tracks.lance` names them), streamed.

    `segments`: which of them, by index; None: all. Yields batches of schema.SEGMENTS of at most 16 rows (22 MB); the
    segments of a track come in order and tracks file by file. Only row groups that may hold a wanted segment are read.
    Raises FileNotFoundError where a file that a track names is gone.
    """
    wanted: dict[str, set[str]] = {}
    for track_id, files in tracks:
        for name in files:
            wanted.setdefault(name, set()).add(track_id)
    for name, track_ids in wanted.items():
        with parquet(catalogue.location.join(name)) as part:
            for group in range(part.num_row_groups):
                ranges = _ranges(part.metadata.row_group(group))
                if not _overlaps(ranges.get("track_id"), track_ids):
                    continue
                if segments is not None and not _overlaps(ranges.get("segment_index"), segments):
                    continue
                rows = part.read_row_group(group)
                mask = pc.is_in(rows["track_id"], value_set=pa.array(sorted(track_ids), pa.string()))
                if segments is not None:
                    indices = pa.array(sorted(segments), pa.int32())
                    mask = pc.and_(mask, pc.is_in(rows["segment_index"], value_set=indices))
                yield from rows.filter(mask).combine_chunks().to_batches()


def _ranges(group: Any) -> dict[str, tuple[Any, Any]]:
    """The smallest and largest value of each column of a row group, where the file says so."""
    columns = (group.column(at) for at in range(group.num_columns))
    return {
        column.path_in_schema: (column.statistics.min, column.statistics.max)
        for column in columns
        if column.statistics is not None and column.statistics.has_min_max
    }


def _overlaps(span: tuple[Any, Any] | None, values: Collection[Any]) -> bool:
    """Whether one of `values` may lie in a span; without a span any may."""
    return span is None or any(span[0] <= value <= span[1] for value in values)
