"""The Parquet part files of segments (schema.SEGMENTS): written by tasks, read by whoever needs audio."""

from __future__ import annotations

import contextlib
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
from pipelines.store.location import Location

ROWS_PER_WRITE = 16  # of 1.4 MB each
ROWS_PER_GROUP = 1  # so that a reader can take one segment; older files have 16 a group


class SegmentWriter:
    """One part file, there only once the `with` block has ended well and only if anything was added."""

    def __init__(self, part: Location) -> None:
        self.part = part
        self._stack = contextlib.ExitStack()
        self._writer: pq.ParquetWriter | None = None
        self._rows: list[dict[str, Any]] = []

    def __enter__(self) -> SegmentWriter:
        return self

    def add(self, track_id: str, segment: Segment) -> None:
        """Add the next segment of a track; tracks come one after the other."""
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
            self._flush()

    def forget(self, track_id: str) -> None:
        """Drop a refused track. Rows already written stay: no track names them, so nobody reads them."""
        self._rows = [row for row in self._rows if row["track_id"] != track_id]

    def _flush(self) -> None:
        if not self._rows:
            return
        if self._writer is None:
            # audio does not compress, and its smallest and largest values say nothing
            others = [name for name in SEGMENTS.names if name != "pcm"]
            self._writer = pq.ParquetWriter(
                self._stack.enter_context(self.part.writing()),
                SEGMENTS,
                compression={name: "zstd" for name in others} | {"pcm": "none"},
                use_dictionary=["track_id"],
                write_statistics=others,
            )
        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=SEGMENTS), row_group_size=ROWS_PER_GROUP)
        self._rows = []

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            if self._writer is not None:
                self._writer.close()
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            self._flush()
            if self._writer is not None:
                self._writer.close()


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
        filesystem, path = catalogue.location.join(name).arrow()
        with filesystem.open_input_file(path) as stream, pq.ParquetFile(stream) as part:
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
