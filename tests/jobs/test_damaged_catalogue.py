"""Every file of a catalogue, damaged in every way: the verbs name the file, and neither hang nor crash."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from jobs import cli
from pipelines.store import detections, verdicts
from tests.pipelines.fake_sweep import SWEEP, add_sweep, detection, make


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def braces(path: Path) -> None:
    path.write_bytes(b"{}")


def deep(path: Path) -> None:
    path.write_bytes(b"[" * 50_000)


def gone(path: Path) -> None:
    path.unlink()


DAMAGES = (pipe, folder, empty, cut, zeros, braces, deep, gone)
READERS = {"rejects": ["rejects"], "verdicts": ["review", "--list"], "detections": ["report"], "segments": ["report"]}


def whole(uri: str) -> Path:
    """A catalogue in which every table has rows."""
    made = make(uri)
    refused = {"track_id": "x.wav", "uri": "/x.wav", "stage": "segment", "error_type": "empty", "error": "empty"}
    with made.writing("test"):
        made.write_rejects("r", [refused])
        made.record_run("r", {"verb": "segment", "outcome": "done"})
        tracks = pa.table({"track_id": ["b/old.wav"], "content_hash": ["hash"]})
        detections.write_tracks(made, SWEEP, tracks)
    when = "2026-01-01T00:00:00Z"
    said = {"relation": "0" * 16, "query": "a", "reference": "b", "verdict": "confirmed", "when": when}
    verdicts.write(made, verdicts.parse(json.dumps({"verdicts": [said]}).encode(), "me"))
    return Path(uri)


def kinds(catalogue: Path) -> list[Path]:
    """One file of each kind, relative to the catalogue."""
    files = sorted(path.relative_to(catalogue) for path in catalogue.rglob("*") if path.is_file())
    return list({(*path.parts[:-1], path.suffix): path for path in files}.values())


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_it_is_named(damage: Callable[[Path], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sound = whole(str(tmp_path / "whole"))
    capsys.readouterr()
    wrong = []
    for path in kinds(sound):
        shutil.rmtree(tmp_path / "c", ignore_errors=True)
        shutil.copytree(sound, tmp_path / "c")
        damage(tmp_path / "c" / path)
        verb = READERS.get(path.parts[0], ["status"])
        more = ["--output", str(tmp_path / "out")] if verb == ["report"] else []
        code = cli.main([*verb, *more, "--catalogue", str(tmp_path / "c")])
        told = capsys.readouterr().err
        named = code == 0 or any(part in told.splitlines()[-1] for part in path.parts)
        if code not in (0, 1) or "bug in asid" in told or not (named or "no catalogue at" in told):
            wrong.append(f"{path} {verb[0]}: {code} {told[-300:]}")
    assert not wrong, "\n".join(wrong)


def test_a_sweep_that_lacks_rows_is_no_sweep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Otherwise a missing part would hide samples from the user."""
    catalogue = make(str(tmp_path / "c"))
    add_sweep(catalogue, [detection("b/old.wav", "b/other.wav")] * 4, "20270101T000000Z-0123456789ab", detections=4)
    report = ["report", "--catalogue", str(tmp_path / "c"), "--output", str(tmp_path / "out")]
    assert cli.main(report) == 0
    next((tmp_path / "c").glob("detections/20270101*/part-*")).unlink()
    assert cli.main(report) == 1
    assert "20270101T000000Z-0123456789ab is damaged (it holds 2 of 4 rows)" in capsys.readouterr().err
