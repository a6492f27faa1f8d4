"""Reading single segments, from files of any row-group size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from asid_core.signal.pcm import Segment
from pipelines.store.catalogue import Catalogue
from pipelines.store.segments import SegmentWriter, read_segments

NAME = "segments/part.parquet"


def written(folder: Path, rows_per_group: int | None) -> Catalogue:
    """Two tracks of 20 segments each in one file; None: as it is written."""
    catalogue = Catalogue(str(folder / "c"), create=True)
    with SegmentWriter(catalogue.location.join(NAME)) as writer:
        for track in ("a", "b"):
            for index in range(20):
                pcm = np.full(100, index, np.int16)
                writer.add(
                    track, Segment(index=index, start_sample=100 * index, lead_samples=0, core_samples=100, pcm=pcm)
                )
    if rows_per_group is not None:
        path = folder / "c" / NAME
        pq.write_table(pq.read_table(path), path, row_group_size=rows_per_group)
    return catalogue


@pytest.mark.parametrize("rows_per_group", [None, 7, 16])
def test_only_the_segments_asked_for_are_given(tmp_path: Path, rows_per_group: int | None) -> None:
    catalogue = written(tmp_path, rows_per_group)
    found = [row for batch in read_segments(catalogue, [("b", [NAME])], {3, 4, 19}) for row in batch.to_pylist()]
    assert [(row["track_id"], row["segment_index"]) for row in found] == [("b", 3), ("b", 4), ("b", 19)]
    every = [row for batch in read_segments(catalogue, [("a", [NAME])]) for row in batch.to_pylist()]
    assert [row["segment_index"] for row in every] == list(range(20))


def test_one_segment_costs_the_reading_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue = written(tmp_path, None)
    groups: list[int] = []
    read = pq.ParquetFile.read_row_group
    monkeypatch.setattr(
        pq.ParquetFile, "read_row_group", lambda self, group, **more: groups.append(group) or read(self, group, **more)
    )
    list(read_segments(catalogue, [("b", [NAME])], {3}))
    assert groups == [23]
