"""Ctrl-C and SIGTERM: committed work is kept and listed, and the printed command resumes the run."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jobs import command, interruption
from jobs.command import DONE, INTERRUPTED, Outcome, Session, Verb
from tests.conftest import tone, write_audio
from tests.pipelines import fake_sweep


def test_it_says_what_is_kept_and_how_to_resume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def work(session: Session) -> Outcome:
        raise KeyboardInterrupt

    uri = str(tmp_path / "my music.asid")
    verb = Verb("test", "Does a thing.", "asid test", command.catalogue_option, work)
    assert command.main(verb, ["--catalogue", uri]) == INTERRUPTED == 130
    assert capsys.readouterr().err.splitlines() == [
        "asid test: stopped.",
        f"Committed to {uri}: nothing yet.",
        f"To resume: asid test --catalogue '{uri}'",
    ]
    fake_sweep.make(uri)
    assert interruption.committed(uri) == "10 tracks (0.03 h audio), 1 finished sweep"


def start(*arguments: str) -> subprocess.Popen[str]:
    """Start Python in its own session, so that a signal to its process group reaches Ray too, as from a terminal."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=Path(__file__).parents[2],
        env={name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job started with & ignores it
    )


def wait_for(run: subprocess.Popen[str], line: str) -> None:
    assert run.stderr is not None
    before = []
    for said in run.stderr:
        before.append(said)
        if said.startswith(line):
            return
    raise AssertionError("".join(before))


@pytest.mark.timeout(600)  # two runs with a Ray each: half a minute, minutes where many share a core
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_run_stops_with_its_ray_and_can_be_resumed(tmp_path: Path, number: signal.Signals) -> None:
    for seed in range(6):
        write_audio(tmp_path / "in" / f"{seed}.wav", tone(12.0, seed=seed), 16_000)
    arguments = ["run", "--corpus", str(tmp_path / "in"), "--catalogue", str(tmp_path / "cat")]
    arguments += ["--set", "probes.semitones=[0.0]", "--set", "probes.tempo_ratios=[1.0]"]  # a quick sweep
    run = start("-m", "jobs.cli", *arguments)
    assert run.stderr is not None
    wait_for(run, "embed:")  # all tracks are segmented, most of the work is still to do
    if number == signal.SIGINT:
        os.killpg(run.pid, number)
    else:
        run.send_signal(number)  # like Kubernetes, which signals only the first process
    said = run.stderr.read()
    assert run.wait(timeout=120) == 128 + number, said
    assert "Traceback" not in said
    kept, resume = said.splitlines()[-2:]
    assert resume.startswith("To resume"), said
    assert "6 tracks (0.02 h audio)" in kept and shlex.split(resume.removeprefix("To resume: ")) == ["asid", *arguments]
    with pytest.raises(ProcessLookupError):
        os.killpg(run.pid, 0)  # Ray is gone as well
    assert not (tmp_path / "cat" / "lease.json").exists()  # the next run need not wait
    if number == signal.SIGTERM:
        return
    again = subprocess.run([sys.executable, "-m", "jobs.cli", *arguments], capture_output=True, text=True, timeout=200)
    assert again.returncode == DONE and "no new tracks, 6 unchanged" in again.stdout.splitlines()[-1], again.stderr


# Locks a C mutex twice: Python cannot handle signals meanwhile, as in a library call that waits for a store.
# A signal just before the lock is raised; the process then locks all the same.
STUCK = """
import ctypes, sys
from jobs import interruption
interruption.GRACE_S = 0.5
lock = ctypes.create_string_buffer(256)
def wait_forever():
    while True:
        ctypes.CDLL(None).pthread_mutex_lock(lock)
with interruption.stoppable():
    try:
        print("stuck", file=sys.stderr, flush=True)
        wait_forever()
    except interruption.Stopped:
        wait_forever()
"""


@pytest.mark.parametrize("numbers", [[signal.SIGTERM], [signal.SIGINT, signal.SIGINT], [signal.SIGINT, signal.SIGTERM]])
def test_a_process_that_cannot_handle_signals_ends_anyway(numbers: list[signal.Signals]) -> None:
    run = start("-c", STUCK)
    wait_for(run, "stuck")
    for at, number in enumerate(numbers):
        assert run.poll() is None
        run.send_signal(number)
        wait_for(run, "asid: stopped at once" if at else "asid: stopping")
    assert run.wait(timeout=60) == 128 + numbers[-1]
    run.communicate()


def test_a_signal_is_raised_once_and_handlers_are_restored() -> None:
    before = [signal.getsignal(number) for number in interruption.SIGNALS]
    with pytest.raises(interruption.Stopped) as caught, interruption.stoppable():
        signal.raise_signal(signal.SIGTERM)
    assert caught.value.code == 143
    assert [signal.getsignal(number) for number in interruption.SIGNALS] == before


class CutShort:
    """A signal interrupts its constructor, so its destructor fails, like that of Ray's actor handles."""

    def __init__(self) -> None:
        signal.raise_signal(signal.SIGTERM)
        self.complete = True

    def __del__(self) -> None:
        assert self.complete


def test_a_destructor_that_fails_after_the_signal_prints_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[object] = []
    hook = reported.append
    monkeypatch.setattr(sys, "unraisablehook", hook)
    with pytest.raises(interruption.Stopped), interruption.stoppable():
        try:
            CutShort()
        except interruption.Stopped as stopped:
            raise stopped.with_traceback(None) from None  # the traceback would keep the object until after the block
    assert not reported
    assert sys.unraisablehook is hook
