"""The log of a run stays in its catalogue, whatever happens to the run and its machine."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.store import run_log
from pipelines.store.catalogue import Catalogue
from pipelines.store.location import Location
from pipelines.store.run_log import RunLog

log = logging.getLogger("pipelines.test")


@pytest.fixture(autouse=True)
def level() -> Iterator[None]:
    before = log.level
    log.setLevel("INFO")
    yield
    log.setLevel(before)


def logs(uri: str) -> dict[str, list[dict[str, Any]]]:
    """Every log of a catalogue: name -> its records."""
    folder = Location(uri).join("runs")
    names = [entry.name for entry in folder.list() if entry.name.endswith(".log")]
    return {name: [json.loads(line) for line in folder.join(name).read_bytes().splitlines()] for name in names}


@pytest.mark.parametrize("at", ["disk", "s3"])
def test_what_a_run_logs_is_in_its_catalogue(tmp_path: Path, s3_bucket: str, at: str) -> None:
    uri = str(tmp_path / "c") if at == "disk" else f"{s3_bucket}/c"
    catalogue = Catalogue(uri, create=True)
    log.info("before")
    with catalogue.writing("embed"):
        log.info("%d tracks", 3)
        with catalogue.writing("index"):
            log.warning("slow")
    log.info("after")
    ((name, records),) = logs(uri).items()
    assert "-embed-" in name and [record["message"] for record in records] == ["3 tracks", "slow"]
    assert [record["level"] for record in records] == ["info", "warning"]
    assert catalogue.runs() == []  # a log is no record of a run


def test_a_short_run_without_a_warning_leaves_no_log(tmp_path: Path) -> None:
    with Catalogue(str(tmp_path / "c"), create=True).writing("embed"):
        log.info("nothing new")
    assert logs(str(tmp_path / "c")) == {}


def test_the_log_says_how_a_run_ended(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Catalogue(str(tmp_path / "c"), create=True).writing("sweep"):
        raise KeyboardInterrupt
    ((_, (record,)),) = logs(str(tmp_path / "c")).items()
    assert record["level"] == "error" and "KeyboardInterrupt" in record["message"]


def test_the_log_of_a_killed_run_is_written_while_it_runs(tmp_path: Path) -> None:
    file = Location(str(tmp_path / "a.log"))
    with RunLog(file, seconds=0.01):
        log.info("one")
        until = time.monotonic() + 60
        while not file.exists() and time.monotonic() < until:
            time.sleep(0.01)
        assert b"one" in file.read_bytes()


def test_a_log_is_bounded_and_keeps_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_log, "LINES", 3)
    file = Location(str(tmp_path / "a.log"))
    with RunLog(file):
        for number in range(9):
            log.warning("%d", number)
    assert [json.loads(line)["message"] for line in file.read_bytes().splitlines()] == ["6", "7", "8"]


def test_a_log_that_cannot_be_written_stops_no_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with RunLog(Location(str(tmp_path / "file" / "a.log"))):
        log.info("one")


def test_programs_without_logging_still_see_warnings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    with RunLog(Location(str(tmp_path / "a.log"))):
        log.info("chatter")
        log.warning("careful")
    assert capsys.readouterr().err == "careful\n"


def test_old_logs_are_deleted_and_records_of_runs_are_not(tmp_path: Path) -> None:
    today = time.strftime("%Y%m%d")
    names = [
        "20200101T000000.000Z-run-0000.log",
        "20200101T000000.000Z-run-0000.json",
        f"{today}T000000.000Z-run-0.log",
    ]
    for name in names:
        Location(str(tmp_path)).join("runs", name).write_bytes(b"{}")
    assert run_log.delete_old(Location(str(tmp_path))) == 1
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == sorted(names[1:])
