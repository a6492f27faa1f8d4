"""Reading single segments, from files of any row-group size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from asid_core.signal.pcm import PcmSegment
from pipelines.store.catalogue import Catalogue
from pipelines.store.files import parquet
from pipelines.store.segments import SegmentWriter, read_segments

NAME = "segments/part.parquet"


def written(folder: Path, rows_per_group: int | None) -> Catalogue:
    """Two tracks of 15 segments each in one file; None: as it is written."""
    catalogue = Catalogue(str(folder / "c"), create=True)
    with SegmentWriter(catalogue.location.join(NAME)) as writer:
        for track in ("a", "b"):
            for index in range(15):
                pcm = np.full(100, index, np.int16)
                writer.add(
                    track, PcmSegment(index=index, start_sample=100 * index, lead_samples=0, core_samples=100, pcm=pcm)
                )
    if rows_per_group is not None:
        path = folder / "c" / NAME
        pq.write_table(pq.read_table(path), path, row_group_size=rows_per_group)
    return catalogue


@pytest.mark.parametrize("rows_per_group", [None, 7, 16])
def test_only_the_segments_asked_for_are_given(tmp_path: Path, rows_per_group: int | None) -> None:
    catalogue = written(tmp_path, rows_per_group)
    found = [row for batch in read_segments(catalogue, [("b", [NAME])], {3, 4, 14}) for row in batch.to_pylist()]
    assert [(row["track_id"], row["segment_index"]) for row in found] == [("b", 3), ("b", 4), ("b", 14)]
    every = [row for batch in read_segments(catalogue, [("a", [NAME])]) for row in batch.to_pylist()]
    assert [row["segment_index"] for row in every] == list(range(15))


def test_one_segment_costs_the_reading_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue = written(tmp_path, None)
    groups: list[int] = []
    read = pq.ParquetFile.read_row_group

    def noted(self: pq.ParquetFile, group: int, **more: Any) -> Any:
        groups.append(group)
        return read(self, group, **more)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", noted)
    list(read_segments(catalogue, [("b", [NAME])], {3}))
    assert groups == [18]


def segments(count: int) -> list[PcmSegment]:
    return [PcmSegment(index, 100 * index, 0, 100, np.full(100, index, np.int16)) for index in range(count)]


@pytest.mark.parametrize("length", [3, 40])
@pytest.mark.parametrize("place", ["local", "s3"])
def test_nothing_stays_of_a_track_that_is_given_up(
    place: str, length: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    uri = str(tmp_path) if place == "local" else request.getfixturevalue("s3_bucket")
    catalogue = Catalogue(uri + "/c", create=True)
    files = {}
    with SegmentWriter(catalogue.location.join(NAME)) as writer:
        for track, count in (("short", 2), ("given up", length), ("again", length), ("long", 33), ("last", 1)):
            for segment in segments(count):
                writer.add(track, segment)
            if track == "given up":
                writer.forget(track)
                continue
            if track == "again":
                writer.forget(track)
                for segment in segments(length - 1):
                    writer.add(track, segment)
            files[track] = f"segments/{writer.part.name}"
    there = {f"segments/{entry.name}" for entry in catalogue.location.join("segments").list()}
    assert there == set(files.values())
    assert files["short"] == files["last"] == NAME != files["long"]
    read = [
        row["track_id"]
        for track in files.items()
        for batch in read_segments(catalogue, [(track[0], [track[1]])])
        for row in batch.to_pylist()
    ]
    assert [read.count(track) for track in files] == [2, length - 1, 33, 1]
    everything = []
    for name in there:
        with parquet(catalogue.location.join(name)) as file:
            everything += file.read(columns=["track_id"])["track_id"].to_pylist()
    assert len(everything) == len(read)


def test_a_task_that_fails_leaves_nothing(tmp_path: Path) -> None:
    catalogue = Catalogue(str(tmp_path / "c"), create=True)
    with pytest.raises(ValueError), SegmentWriter(catalogue.location.join(NAME)) as writer:
        for segment in segments(40):
            writer.add("long", segment)
        raise ValueError
    assert list(catalogue.location.join("segments").list()) == []
