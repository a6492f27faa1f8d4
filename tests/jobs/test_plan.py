"""The arithmetic of `asid plan`, from a thousand to a hundred million tracks."""

from __future__ import annotations

import dataclasses
import io
import math

import pandas
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
    "votes_multiply_adds_s": 1e9,
    "verify_pairs_s": 10.0,
    "s3_requests_per_file": 2.0,
    "s3_table_bytes_per_request": 8e6,
    "s3_usd_per_request": 1e-6,
    "driver_bytes": 1e8,
    "driver_bytes_per_track": 100.0,
    "reindex_tracks_s": 1000.0,
}
SHAPE = job.shape(load("linear"))


def planned(tracks: int) -> Plan:
    return plan(tracks, 4.0, SHAPE, RATES)


@pytest.mark.parametrize("tracks", [10**power for power in range(3, 9)])
def test_costs_grow_linearly_except_for_a_full_exact_sweep(tracks: int) -> None:
    one, ten = planned(tracks), planned(10 * tracks)
    for name in ("audio_h", "tracks_bytes", "segments_bytes", "fingerprints_bytes", "segment_core_h", "embed_gpu_h"):
        assert getattr(ten, name) == pytest.approx(10 * getattr(one, name)), name
    # a query is compared with more lists, and with more rows of each
    assert 25 * (one.sweep_votes_core_h or 0) < (ten.sweep_votes_core_h or 0) < 101 * (one.sweep_votes_core_h or 0)
    # of more blocks, a smaller part of each tells what is usual
    assert 60 * (one.sweep_exact_core_h or 0) < (ten.sweep_exact_core_h or 0) < 100.1 * (one.sweep_exact_core_h or 0)


def test_the_numbers_of_a_thousand_tracks_of_which_every_row_is_compared() -> None:
    exact = dataclasses.replace(SHAPE, search=dataclasses.replace(SHAPE.search, votes_from_rows=10**7))
    estimate = plan(1000, 4.0, exact, RATES)
    assert estimate.audio_h == pytest.approx(1000 * 4 / 60)
    assert estimate.rows == 1000 * 240 * 6.25 and estimate.fingerprints_bytes == estimate.rows * 256 * 4
    # 240 s are 8 cores of 30.72 s, with 7 borders that add 12 s each
    assert estimate.segments_bytes == 1000 * (240 + 7 * 12) * 32_000
    assert estimate.query_vectors == 1000 * 240 * 81
    usual = 1.5 * 44 * 16 / 65_536  # share of the rows that tell what is usual: in 23 blocks, 44 groups of each
    assert estimate.sweep_exact_core_h == pytest.approx(
        estimate.query_vectors * estimate.rows / 2 * (128 / 2 / 3 + 256 * usual) / 1e10 / 3600  # each pair once
    )
    assert estimate.sweep_verify_core_h == pytest.approx(1000 * 40 / 10 / 3600)
    assert estimate.embed_core_h == pytest.approx(1000 * 240 / 50 / 3600)
    # query audio, a segment of each candidate, and the table once for each group of queries
    scan_bytes, scans = estimate.rows * (256 * 4 + 71), math.ceil(240_000 / SHAPE.together_s)
    segments = 1000 * (8 + 40)  # twice as many candidates as of a hundred tracks
    assert estimate.sweep_read_bytes == pytest.approx(segments * (30.72 + 12) * 32_000 + scans * scan_bytes)
    opened = 2 * 1000 * (1 + 40)
    assert estimate.sweep_requests == pytest.approx(opened + segments + scans * scan_bytes / 8e6)
    assert estimate.sweep_requests_usd == pytest.approx((estimate.sweep_requests or 0) * 1e-6)
    assert estimate.driver_bytes == 1e8 + 1e5 and estimate.reindex_h == pytest.approx(1 / 3600)


def test_a_sweep_by_votes_reads_the_fingerprints_once() -> None:
    estimate = planned(100_000)
    segments = 100_000 * (8 + 80)
    assert estimate.sweep_read_bytes == pytest.approx(segments * (30.72 + 12) * 32_000 + estimate.rows * (256 * 4 + 71))


def test_a_sweep_by_votes_compares_vectors_with_all_centres_and_some_lists_and_then_with_the_best_tracks() -> None:
    estimate = planned(100_000)
    rows, vectors = 100_000 * 240 * 6.25, 100_000 * 240 * 81
    lists = 65_536  # a power of two near 4 sqrt(rows)
    sorting, voting = (rows / 2 + 8 * 64 * lists) * lists * 128, vectors / 3 * (lists + rows / 2 / 2 / 32) * 128
    best = vectors * 200 * 240 * 6.25 * 128 / 2 / 3
    assert estimate.sweep_votes_core_h == pytest.approx(((sorting + voting) / 1e9 + best / 1e10) / 3600)
    assert estimate.core_h is not None and estimate.core_h < (estimate.sweep_exact_core_h or 0)


def test_without_a_number_every_size_and_its_search_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--cores", "2"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows[1:7]] == [f"{10**power:,}" for power in range(3, 9)]
    assert [row[3] for row in rows[1:7]] == ["votes"] * 6
    assert "up to 666 tracks" in " ".join(rows[7])


@pytest.mark.parametrize("format", ["csv", "json"])
def test_estimates_for_programs(format: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--format", format]) == 0
    text = io.StringIO(capsys.readouterr().out)
    table = pandas.read_csv(text) if format == "csv" else pandas.read_json(text)
    assert table.tracks.tolist() == [10**power for power in range(3, 9)] and table.search[0] == "votes"


@pytest.mark.parametrize(
    ("tracks", "search", "bytes_per_row"),
    [(10, "exact", 0), (666, "exact", 0), (667, "votes", 332), (10**5, "votes", 332), (10**8, "votes", 332)],
)
def test_large_catalogues_are_searched_by_votes(tracks: int, search: str, bytes_per_row: int) -> None:
    estimate = planned(tracks)
    assert (estimate.search, estimate.votes_bytes) == (search, estimate.rows * bytes_per_row)
    assert estimate.making_votes_bytes == (2 * estimate.votes_bytes + 10**9 if bytes_per_row else 0)


def test_missing_rates_are_shown_as_not_measured(capsys: pytest.CaptureFixture[str]) -> None:
    nothing = plan(1000, 4.0, SHAPE, dict.fromkeys(RATES))
    values = dataclasses.asdict(nothing)
    assert all(value is None for name, value in values.items() if name.endswith("_h") and name != "audio_h")
    assert dict(job.lines(nothing, 8))["embed on 8 GPUs, hours"] == "not measured"
    assert read_rates().keys() >= RATES.keys() | {"machine", "date"}
    assert main(["plan", "--tracks", "1e6", "--gpus", "4"]) == 0
    shown = capsys.readouterr().out
    assert "votes" in shown and read_rates()["machine"] in shown
    assert main(["plan", "--tracks", "0"]) == 2
