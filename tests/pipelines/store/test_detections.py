"""Sweeps written by older versions can be read."""

from pathlib import Path

import pyarrow.parquet as pq

from asid_core.schema import DETECTIONS
from pipelines.store import detections
from tests.pipelines import fake_sweep


def test_a_column_that_came_later_is_null_in_older_sweeps(tmp_path: Path) -> None:
    catalogue = fake_sweep.make(str(tmp_path / "cat"))
    for part in sorted((tmp_path / "cat").glob("detections/*/*.parquet")):
        pq.write_table(pq.read_table(part, partitioning=None).drop_columns(["rerank_score", "verify_score"]), part)
    rows = detections.detections(catalogue, fake_sweep.SWEEP, 0.8)
    assert rows.schema == DETECTIONS and rows.num_rows == 5
    assert rows.column("verify_score").null_count == 5 and rows.column("coarse_score").null_count == 0
