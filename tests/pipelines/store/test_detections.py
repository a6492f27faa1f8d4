"""Sweeps written by older versions can be read."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from asid_core.schema import DETECTIONS
from pipelines.store import detections
from pipelines.store.detections import Counts
from tests.pipelines import fake_sweep


def test_a_column_that_came_later_is_null_in_older_sweeps(tmp_path: Path) -> None:
    catalogue = fake_sweep.make(str(tmp_path / "cat"))
    for part in sorted((tmp_path / "cat").glob("detections/*/*.parquet")):
        pq.write_table(pq.read_table(part, partitioning=None).drop_columns(["rerank_score", "verify_score"]), part)
    rows = detections.detections(catalogue, fake_sweep.SWEEP, 0.8)
    assert rows.schema == DETECTIONS and rows.num_rows == 5
    assert rows.column("verify_score").null_count == 5 and rows.column("coarse_score").null_count == 0


def test_the_counts_of_a_sweep_are_those_of_its_rows(tmp_path: Path) -> None:
    catalogue = fake_sweep.make(str(tmp_path / "cat"))
    parts = detections.parts(catalogue, fake_sweep.SWEEP)
    assert detections.count(parts, 0.8) == Counts(8, {"duplicate": 1, "sample": 4})
    rows = detections.detections(catalogue, fake_sweep.SWEEP)
    assert Counts.of(rows.slice(0, 3), 0.8) + Counts.of(rows.slice(3), 0.8) == detections.count(parts, 0.8)
    assert detections.count([], 0.8) == Counts()


def test_rows_of_many_small_parts_are_joined_while_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch of a few rows takes 15 kB, so 140,000 of them took 2 GB."""
    catalogue = fake_sweep.make(str(tmp_path / "cat"))
    monkeypatch.setattr(detections, "JOINED_BATCHES", 2)
    rows = detections.detections(catalogue, fake_sweep.SWEEP)
    assert rows.num_rows == 8 and rows.column("score").num_chunks <= 2  # an empty one and a joined one
