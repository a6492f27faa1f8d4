"""The arithmetic of a plan, from a thousand tracks to a hundred million."""

from __future__ import annotations

import dataclasses

import pytest

from asid_core.config import load
from jobs import plan as job
from jobs.cli import main
from pipelines.plan import Plan, plan, read_rates

RATES = {
    "segment_x_realtime": 100.0,
    "embed_x_realtime": 50.0,
    "embed_x_realtime_gpu": 1000.0,
    "query_x_realtime": 20.0,
    "exact_multiply_adds_s": 1e10,
    "exact_multiply_adds_s_gpu": 1e13,
    "index_queries_s": 1000.0,
    "verify_pairs_s": 10.0,
}
SHAPE = job.shape(load("linear"))


def planned(tracks: int) -> Plan:
    return plan(tracks, 4.0, SHAPE, RATES)


@pytest.mark.parametrize("tracks", [10**power for power in range(3, 9)])
def test_what_is_linear_is_linear_and_a_full_exact_sweep_is_not(tracks: int) -> None:
    one, ten = planned(tracks), planned(10 * tracks)
    for name in ("audio_h", "tracks_bytes", "segments_bytes", "fingerprints_bytes", "segment_core_h", "embed_gpu_h"):
        assert getattr(ten, name) == pytest.approx(10 * getattr(one, name)), name
    assert ten.sweep_index_core_h == pytest.approx(10 * (one.sweep_index_core_h or 0))
    assert ten.sweep_exact_core_h == pytest.approx(100 * (one.sweep_exact_core_h or 0))


def test_the_numbers_of_a_thousand_tracks() -> None:
    found = planned(1000)
    assert found.audio_h == pytest.approx(1000 * 4 / 60)
    assert found.rows == 1000 * 240 * 6.25 and found.fingerprints_bytes == found.rows * 256 * 4
    # 240 s are 8 cores of 30.72 s: 7 cuts of 12 s more
    assert found.segments_bytes == 1000 * (240 + 7 * 12) * 32_000
    assert found.query_vectors == 1000 * 240 * 81
    assert found.sweep_exact_core_h == pytest.approx(found.query_vectors * found.rows * 128 / 2 / 3 / 1e10 / 3600)
    assert found.sweep_verify_core_h == pytest.approx(1000 * SHAPE.verify_tracks / 10 / 3600)
    assert found.embed_core_h == pytest.approx(1000 * 240 / 50 / 3600)


@pytest.mark.parametrize(
    ("tracks", "search", "index_bytes_per_row"),
    [(1_000, "exact", 0), (13_000, "exact", 0), (14_000, "IVF_PQ", 24), (10**5, "IVF_PQ", 24), (10**8, "IVF_PQ", 24)],
)
def test_the_search_is_the_one_that_index_builds(tracks: int, search: str, index_bytes_per_row: int) -> None:
    found = planned(tracks)
    assert (found.search, found.index_bytes) == (search, found.rows * index_bytes_per_row)


def test_where_the_exact_search_is_to_end_earlier_whole_vectors_are_indexed() -> None:
    found = plan(4000, 4.0, dataclasses.replace(SHAPE, exact_below_rows=5_000_000), RATES)
    assert (found.search, found.index_bytes) == ("IVF_FLAT", found.rows * 1032)


def test_what_was_not_measured_is_said_to_be_so(capsys: pytest.CaptureFixture[str]) -> None:
    nothing = plan(1000, 4.0, SHAPE, dict.fromkeys(RATES))
    values = dataclasses.asdict(nothing)
    assert all(value is None for name, value in values.items() if name.endswith("_h") and name != "audio_h")
    assert dict(job.lines(nothing, 8))["embed on 8 GPUs, hours"] == "not measured"
    assert read_rates().keys() >= RATES.keys() | {"machine", "date"}
    assert main(["plan", "--tracks", "1e6", "--gpus", "4"]) == 0
    shown = capsys.readouterr().out
    assert "IVF_PQ" in shown and read_rates()["machine"] in shown
    assert main(["plan", "--tracks", "0"]) == 2
