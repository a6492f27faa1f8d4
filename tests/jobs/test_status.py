"""`asid status` and `asid rejects` on a catalogue written by hand."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from asid_core import schema
from jobs import cli
from pipelines.store import detections
from pipelines.store.catalogue import Catalogue
from tests.pipelines.fake_sweep import add_sweep, detection

SCORES = [(0.9, "sample"), (0.5, "sample"), (0.4, "sample"), (0.99, "duplicate")]


def _track(track_id: str, content_hash: str) -> dict[str, Any]:
    return {
        "track_id": track_id, "uri": f"/{track_id}", "content_hash": content_hash, "size_bytes": 9, "version": "1",
        "duration_s": 1800.0, "num_segments": 59, "segment_files": ["segments/r/part-0.parquet"], "run_id": "r",
    }  # fmt: skip


def _fingerprint(track_id: str, content_hash: str, window: int) -> dict[str, Any]:
    return {
        "fingerprint_id": f"{content_hash}-{window}", "track_id": track_id, "content_hash": content_hash,
        "window_index": window, "start_s": 0.0, "level_db": -20.0, "vector": [0.0, 1.0],
    }  # fmt: skip


def _tracks(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=schema.TRACKS)


@pytest.fixture()
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    """A catalogue of two tracks, open for writing."""
    with Catalogue(str(tmp_path / "cat"), create=True).writing("test") as made:
        made.commit_tracks(_tracks(_track("a.wav", "a1"), _track("b.wav", "b2")))
        yield made


def _last(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    out = capsys.readouterr().out
    return out, out.splitlines()[-1]


def test_status_of_an_empty_catalogue_says_how_to_fill_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Catalogue(str(tmp_path / "cat"), create=True)
    assert cli.main(["status", "--catalogue", str(tmp_path / "cat")]) == 0
    assert "next: asid run --corpus" in _last(capsys)[1]


def test_no_catalogue_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status", "--catalogue", str(tmp_path / "none")]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("asid status: no catalogue at") and captured.err.count("\n") == 1
    assert not (tmp_path / "none").exists()


def test_status_counts_what_is_done_and_what_is_to_do(catalogue: Catalogue, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["status", "--catalogue", str(catalogue.location)]
    assert cli.main(argv) == 0
    out, last = _last(capsys)
    assert "2 (1.00 h audio, 118 segments)" in out and "next: asid embed" in last
    assert cli.main([*argv, "--format", "csv"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == ["name,value", 'tracks,"2 (1.00 h audio, 118 segments)"']

    rows = [_fingerprint("a.wav", "a1", 0), _fingerprint("a.wav", "a1", 1), _fingerprint("b.wav", "old", 0)]
    catalogue.upsert("fingerprints-m1", pa.Table.from_pylist(rows, schema=schema.fingerprints(2)), "fingerprint_id")
    assert cli.main(argv) == 0
    out, last = _last(capsys)
    assert "model m1: 3 of 1 tracks, 1 tracks to do, 1 tracks out of date" in out and "next: asid embed" in last

    catalogue.delete("fingerprints-m1", "content_hash", ["old"])
    more = pa.Table.from_pylist([_fingerprint("b.wav", "b2", 0)], schema=schema.fingerprints(2))
    catalogue.upsert("fingerprints-m1", more, "fingerprint_id")
    assert cli.main(argv) == 0
    assert "next: asid sweep" in _last(capsys)[1]


def test_status_of_sweeps(catalogue: Catalogue, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [_fingerprint("a.wav", "a1", 0), _fingerprint("b.wav", "b2", 0)]
    catalogue.upsert("fingerprints-m1", pa.Table.from_pylist(rows, schema=schema.fingerprints(2)), "fingerprint_id")
    rows = [_fingerprint("a.wav", "a1", 0)]  # an abandoned model does not ask for more embedding
    catalogue.upsert("fingerprints-m2", pa.Table.from_pylist(rows, schema=schema.fingerprints(2)), "fingerprint_id")
    pairs = [detection("a.wav", "b.wav", score, kind=kind) for score, kind in SCORES]
    add_sweep(catalogue, pairs, sweep_id="s1", detections=4, config={"score": {"threshold": 0.5}})
    detections.write_tracks(catalogue, "s1", catalogue.tracks_of(["a.wav", "b.wav"]))
    catalogue.location.join("detections", "s2-killed", "part-0.parquet").write_bytes(b"")
    argv = ["status", "--catalogue", str(catalogue.location)]
    assert cli.main(argv) == 0
    out, last = _last(capsys)
    assert "s1: 4 pairs verified, reported: 2 samples, 1 duplicate\n" in out and "sweep s2-killed: 1 parts done" in out
    assert "next: asid report" in last

    catalogue.commit_tracks(_tracks(_track("b.wav", "b3")))
    more = pa.Table.from_pylist([_fingerprint("b.wav", "b3", 0)], schema=schema.fingerprints(2))
    catalogue.upsert("fingerprints-m1", more, "fingerprint_id")
    catalogue.delete("fingerprints-m1", "content_hash", ["b2"])
    assert cli.main(argv) == 0
    out, last = _last(capsys)
    assert "1 tracks not swept yet" in out and "running       asid test, process" in out and "--new-only" in last


def test_status_as_json(catalogue: Catalogue, capsys: pytest.CaptureFixture[str]) -> None:
    catalogue.record_run("r1", {"outcome": "done"})
    assert cli.main(["status", "--catalogue", str(catalogue.location), "--format", "json"]) == 0
    captured = capsys.readouterr()
    values = json.loads(captured.out)
    assert values["tracks"] == 2 and values["audio_s"] == 3600.0 and values["last_run"]["run_id"] == "r1"
    assert "next: " in captured.err


def test_status_on_s3(s3_bucket: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = pa.Table.from_pylist([_fingerprint("a.wav", "a1", 0)], schema=schema.fingerprints(2))
    with Catalogue(f"{s3_bucket}/cat", create=True).writing("test") as made:
        made.commit_tracks(_tracks(_track("a.wav", "a1")))
        made.upsert("fingerprints-m1", rows, "fingerprint_id")
    assert cli.main(["status", "--catalogue", f"{s3_bucket}/cat"]) == 0
    assert "model m1: 1 of 1 tracks\n" in capsys.readouterr().out


REJECT = {"uri": "/x", "stage": "segment", "error_type": "empty", "error": 'the file is "empty",\n(0 bytes)'}


def test_rejects_as_table_csv_and_json(catalogue: Catalogue, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"track_id": name, **REJECT} for name in ("z.mp3", "y.mp3")]
    catalogue.write_rejects("r1", [*rows, {"track_id": "x.wav", **REJECT, "error_type": "not_audio"}])
    argv = ["rejects", "--catalogue", str(catalogue.location)]
    assert cli.main(argv) == 0
    out, last = _last(capsys)
    assert last == "3 rejects: 2 empty, 1 not_audio"
    assert [line.split()[0] for line in out.splitlines()[:4]] == ["track", "x.wav", "y.mp3", "z.mp3"]

    assert cli.main([*argv, "--format", "csv"]) == 0
    captured = capsys.readouterr()
    listed = list(csv.DictReader(io.StringIO(captured.out)))
    assert [r["track_id"] for r in listed] == ["x.wav", "y.mp3", "z.mp3"] and listed[1]["error"] == REJECT["error"]
    assert captured.err.splitlines()[-1] == "3 rejects: 2 empty, 1 not_audio"

    assert cli.main([*argv, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["stage"] == "segment"


def test_no_rejects(catalogue: Catalogue, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["rejects", "--catalogue", str(catalogue.location)]) == 0
    assert capsys.readouterr().out == "0 rejects\n"


def test_status_opens_no_part_of_a_sweep_that_counted_what_it_reports(
    catalogue: Catalogue, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = [detection("a.wav", "b.wav", score, kind=kind) for score, kind in SCORES]
    add_sweep(catalogue, pairs, sweep_id="s1", detections=4, reported={"sample": 2, "duplicate": 1})
    monkeypatch.setattr(detections, "parquet", lambda part: pytest.fail(f"opened {part}"))
    assert cli.main(["status", "--catalogue", str(catalogue.location)]) == 0
    assert "s1: 4 pairs verified, reported: 2 samples, 1 duplicate" in _last(capsys)[0]
