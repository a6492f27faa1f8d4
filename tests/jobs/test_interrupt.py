"""Ctrl-C: what is committed is kept and told, and the command that is named goes on from there."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs import command, status
from jobs.command import DONE, INTERRUPTED, Outcome, Session, Verb
from tests.conftest import tone, write_audio
from tests.pipelines import fake_sweep


@pytest.fixture()
def handler() -> Iterator[object]:
    """Puts the handler of Ctrl-C back: a verb that was stopped is deaf from then on."""
    before = signal.getsignal(signal.SIGINT)
    yield before
    signal.signal(signal.SIGINT, before)


def test_it_says_what_is_kept_and_how_to_go_on(
    handler: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(session: Session) -> Outcome:
        raise KeyboardInterrupt

    uri = str(tmp_path / "my music.asid")
    verb = Verb("test", "Does a thing.", "asid test", command.catalogue_option, work)
    assert command.main(verb, ["--catalogue", uri]) == INTERRUPTED == 130
    assert capsys.readouterr().err.splitlines() == [
        "asid test: stopped.",
        f"Committed and kept in {uri}: nothing yet.",
        f"To go on: asid test --catalogue '{uri}'",
    ]
    fake_sweep.make(uri)
    assert status.committed(uri) == "10 tracks (0.03 h audio), 1 finished sweep"


@pytest.mark.timeout(600)  # two runs with a Ray each: half a minute, minutes where many share a core
def test_a_run_stops_with_its_ray_and_goes_on(tmp_path: Path) -> None:
    for seed in range(6):
        write_audio(tmp_path / "in" / f"{seed}.wav", tone(12.0, seed=seed), 16_000)
    arguments = ["run", "--corpus", str(tmp_path / "in"), "--catalogue", str(tmp_path / "cat")]
    arguments += ["--set", "probes.semitones=[0.0]", "--set", "probes.tempo_ratios=[1.0]"]  # a quick sweep
    # a session of its own: what it and its Ray get is what a terminal sends to all of them
    run = subprocess.Popen(
        [sys.executable, "-m", "jobs.cli", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=Path(__file__).parents[2],
        env={name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job started with & ignores it
    )
    assert run.stderr is not None
    before = []
    for line in run.stderr:
        before.append(line)
        if line.startswith("embed "):  # all tracks are segmented, most of the work is still to do
            break
    assert before and before[-1].startswith("embed "), before
    os.killpg(run.pid, signal.SIGINT)
    said = run.stderr.read()
    assert run.wait(timeout=120) == INTERRUPTED, said
    assert "Traceback" not in said
    kept, go_on = said.splitlines()[-2:]
    assert "6 tracks (0.02 h audio)" in kept and shlex.split(go_on.removeprefix("To go on: ")) == ["asid", *arguments]
    with pytest.raises(ProcessLookupError):
        os.killpg(run.pid, 0)  # Ray is gone as well
    assert not (tmp_path / "cat" / "lease.json").exists()  # the next run need not wait

    again = subprocess.run([sys.executable, "-m", "jobs.cli", *arguments], capture_output=True, text=True, timeout=200)
    assert again.returncode == DONE and "no new tracks, 6 unchanged" in again.stdout.splitlines()[-1], again.stderr
