"""`asid ... | head -1`: whoever reads standard output may stop at any time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipelines.fake_sweep import make

COMMANDS = {
    "no verb": ["--help"],
    "help": ["status", "--help"],
    "config": ["status", "--print-config"],
    "table": ["status", "--catalogue", "{catalogue}"],
    "json": ["rejects", "--catalogue", "{catalogue}", "--format", "json"],
    "script": ["completion", "bash"],
}


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("what", COMMANDS)
def test_a_broken_pipe_ends_quietly(what: str, unbuffered: str, tmp_path: Path) -> None:
    make(str(tmp_path / "cat"))
    arguments = [word.format(catalogue=tmp_path / "cat") for word in COMMANDS[what]]
    reading, writing = os.pipe()
    os.close(reading)
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    command = [sys.executable, "-m", "jobs.cli", *arguments]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, env=environment, text=True)
    os.close(writing)
    assert done.returncode == 0 and "Broken" not in done.stderr and "Traceback" not in done.stderr, done.stderr
