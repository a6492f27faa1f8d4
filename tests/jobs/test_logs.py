"""`--log-format json`: every line on standard error is one JSON object, whatever happens."""

from __future__ import annotations

import datetime
import json
import logging
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jobs import command
from jobs.command import DONE, FAILED, INTERRUPTED, Outcome, Session, Verb
from tests.test_house import ROOT


def said(capsys: pytest.CaptureFixture[str], work: Any, *more: str) -> tuple[int, list[dict[str, Any]], str]:
    """Run a verb with `--log-format json`: its exit code, the lines on standard error, standard output."""
    verb = Verb("test", "Does a thing.", "asid test", command.catalogue_option, work)
    code = command.main(verb, ["--catalogue", "x", "--log-format", "json", *more])
    told = capsys.readouterr()
    return code, [json.loads(line) for line in told.err.splitlines()], told.out


def test_records_have_time_level_logger_and_message(capsys: pytest.CaptureFixture[str]) -> None:
    def work(session: Session) -> Outcome:
        logging.getLogger("pipelines.test").info("%d things\nin two lines", 2)
        return Outcome("1 thing in 0.1 s")

    code, (line,), out = said(capsys, work)
    assert code == DONE and out == "1 thing in 0.1 s\n"
    assert datetime.datetime.fromisoformat(line.pop("time")).utcoffset() == datetime.timedelta(0)
    assert line == {"level": "info", "logger": "pipelines.test", "message": "2 things\nin two lines"}


def test_progress_is_a_record_at_both_ends_of_a_stage(capsys: pytest.CaptureFixture[str]) -> None:
    def work(session: Session) -> Outcome:
        for done in range(5):
            session.progress({"stage": "embed", "done": done, "total": 4, "audio_s": 60.0 * done})
        session.progress({"stage": "sweep", "done": 3})
        return Outcome("done", to_stderr=True)

    _, lines, _ = said(capsys, work)
    assert [line["message"] for line in lines] == [
        "embed: 0 of 4 tracks",
        "embed: 4 of 4 tracks",
        "sweep: 3 tracks",
        "done",
    ]
    assert lines[1]["progress"] == {"stage": "embed", "done": 4, "total": 4, "audio_s": 240.0}
    _, lines, _ = said(capsys, work, "--quiet")
    assert lines == []


@pytest.mark.parametrize(
    ("error", "code", "level"),
    [
        (command.Failure("no such thing"), FAILED, "error"),
        (ZeroDivisionError("oops"), FAILED, "error"),
        (KeyboardInterrupt(), INTERRUPTED, "warning"),
    ],
)
def test_errors_are_records_too(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, level: str
) -> None:
    def work(session: Session) -> Outcome:
        raise error

    ended, lines, _ = said(capsys, work)
    assert ended == code and lines[-1]["level"] == level and "asid test" in lines[-1]["message"]
    is_bug = isinstance(error, ZeroDivisionError)
    assert any("Traceback" in line.get("traceback", "") for line in lines) == is_bug


STOPPED = """
import sys, time
from jobs import command
def work(session):
    command.logs.tell("ready")
    time.sleep(60)
verb = command.Verb("test", "Does a thing.", "asid test", lambda parser: None, work)
sys.exit(command.main(verb, ["--log-format", "json"]))
"""


def test_what_a_signal_makes_it_say_is_json() -> None:
    run = subprocess.Popen([sys.executable, "-c", STOPPED], stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert run.stderr is not None and json.loads(run.stderr.readline())["message"] == "ready"
    run.send_signal(signal.SIGTERM)
    lines = [json.loads(line) for line in run.stderr]
    assert run.wait() == 143
    assert sorted(line["message"].split(";")[0].split("\n")[0] for line in lines) == [
        "asid test: stopped.",
        "asid: stopping cleanly",
    ]


@pytest.mark.parametrize("path", sorted((ROOT / "jobs").glob("*.py")), ids=lambda p: p.name)
def test_verbs_talk_to_standard_error_through_one_module(path: Path) -> None:
    """cli.py speaks before a verb has read its options."""
    assert path.name in ("cli.py", "logs.py") or "file=sys.stderr" not in path.read_text()
