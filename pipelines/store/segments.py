"""Writes and reads the Parquet part files of segments (schema.SEGMENTS)."""

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
from asid_core.signal.pcm import PcmSegment
from pipelines.store.catalogue import Catalogue
from pipelines.store.files import parquet
from pipelines.store.location import Location

ROWS_PER_WRITE = 16  # a row has 1.4 MB
ROWS_PER_GROUP = 1  # so that one segment can be read alone; older files have 16 per group


class SegmentWriter:
    """Writes the part files of some tracks. They appear when the `with` block ends without an error.

    Short tracks share the file `shared`. A track of at least ROWS_PER_WRITE segments gets a file of its own beside it,
    so that nothing is left of a long track that is rejected at its end.
    """

    def __init__(self, shared: Location) -> None:
        self._shared = _PartFile(shared)
        self._own: list[_PartFile] = []  # of long tracks; the last one may belong to the current track
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

    def add(self, track_id: str, segment: PcmSegment) -> None:
        """Add the next segment of a track. All segments of a track must come before those of the next."""
        if track_id != self._track_id:
            self._flush()
            self._track_id = track_id
        self._rows.append(segment_row(track_id, segment))
        if len(self._rows) >= ROWS_PER_WRITE:
            if not self._is_long:
                name = f"{self._shared.place.name.removesuffix('.parquet')}-{uuid.uuid4().hex[:8]}.parquet"
                self._own.append(_PartFile(self._shared.place.parent.join(name), track_id))
            self._flush()

    def forget(self, track_id: str) -> None:
        """Drop the current track, because it was rejected or will be added again."""
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
                stack.callback(file.drop)  # does nothing to a closed file
            if error is None:
                self._flush()
                for file in (self._shared, *self._own):
                    file.close()


def segment_row(track_id: str, segment: PcmSegment) -> dict[str, Any]:
    """A row of schema.SEGMENTS."""
    return {
        "track_id": track_id,
        "segment_index": segment.index,
        "start_s": segment.start_sample / SAMPLE_RATE_HZ,
        "lead_samples": segment.lead_samples,
        "core_samples": segment.core_samples,
        "num_samples": len(segment.pcm),
        "pcm": segment.pcm.astype("<i2", copy=False).tobytes(),
    }


class _PartFile:
    """One part file. `track_id`: its only track, or None if tracks share the file."""

    def __init__(self, place: Location, track_id: str | None = None) -> None:
        self.place, self.track_id = place, track_id
        self._stack = contextlib.ExitStack()
        self._writer: pq.ParquetWriter | None = None

    def write(self, rows: list[dict[str, Any]]) -> None:
        if not rows:
            return
        if self._writer is None:
            # audio does not compress, and its minimum and maximum are of no use
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
        """Discard the file, unless it was closed."""
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
    """Stream the segments of `tracks`, pairs of (track_id, segment_files) as in the tracks table.

    segments: indices of the segments to read of each track; None for all. Yields batches of schema.SEGMENTS of at most
    16 rows (22 MB). The segments of a track come in order; tracks come file by file. Reads only row groups that may
    hold a wanted segment. Raises FileNotFoundError if a file is missing.
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
    """(minimum, maximum) of each column of a row group that has statistics."""
    columns = (group.column(at) for at in range(group.num_columns))
    return {
        column.path_in_schema: (column.statistics.min, column.statistics.max)
        for column in columns
        if column.statistics is not None and column.statistics.has_min_max
    }


def _overlaps(span: tuple[Any, Any] | None, values: Collection[Any]) -> bool:
    """Whether any of `values` may be in a range; always True if the range is unknown."""
    return span is None or any(span[0] <= value <= span[1] for value in values)
