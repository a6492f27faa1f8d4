"""asid's own Ray: it accepts only its token, is not reachable from outside, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path

import pytest

from pipelines import local_ray
from pipelines.local_ray import PREFIX, ROOT_BYTES, Folder, remove_abandoned, root

STARTED = """
import sys
from pipelines import runtime
runtime.start_local(num_cpus=1, object_store_memory=80 << 20)
import ray
# its environment is made by an agent: from here on that one listens
ray.get(ray.remote(lambda: 1).options(runtime_env={"env_vars": {"X": "1"}}).remote())
print(runtime._folder.path, flush=True)
sys.stdin.readline()
runtime.stop_ray()
"""
REFUSED = {401, 403}
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


@pytest.fixture()
def started() -> Iterator[tuple[subprocess.Popen[str], Folder]]:
    """A process with its own Ray, and the folder of that Ray."""
    process = subprocess.Popen(
        [sys.executable, "-c", STARTED],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env={name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"},
    )
    assert process.stdout is not None
    yield process, Folder(Path(process.stdout.readline().strip()))
    process.kill()
    process.communicate()
    remove_abandoned()


def listeners(pids: set[int]) -> set[tuple[str, int]]:
    """(address in hex, port) of every TCP socket on which one of these processes listens."""
    links = {os.readlink(link) for pid in pids for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()}
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()]
    local = [line[1].split(":") for line in lines if line[3] == "0A" and f"socket:[{line[9]}]" in links]
    return {(address, int(port, 16)) for address, port in local}


def post_job(port: int, path: str, entrypoint: str, token: str | None) -> int | None:
    """The response to a job submitted to Ray's job agent or dashboard; None if the server does not speak HTTP."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    body = json.dumps({"entrypoint": entrypoint}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (HTTPException, OSError):
        return None


@pytest.mark.ray
def test_only_who_has_the_token_is_obeyed_and_a_killed_run_is_cleaned_up(
    started: tuple[subprocess.Popen[str], Folder], tmp_path: Path
) -> None:
    process, folder = started
    assert (folder.path.stat().st_mode & 0o777, (folder.path / "token").stat().st_mode & 0o777) == (0o700, 0o600)
    answers: set[int | None] = set()
    until = time.monotonic() + 60
    while not REFUSED & answers and time.monotonic() < until:  # the job agent begins to listen after Ray has started
        pids = {process.pid, *folder.processes()}
        found = listeners(pids)
        assert len(pids) > 4 and found and {address for address, _ in found} <= LOOPBACK
        answers |= {
            post_job(port, path, f"touch {tmp_path / 'sprung'}", token)
            for _, port in found
            for path in ("/api/job_agent/jobs/", "/api/jobs/")
            for token in (None, "0" * 64)
        }
    assert REFUSED & answers and answers <= {*REFUSED, 404, 405, None}
    process.kill()
    process.wait()
    assert folder.is_abandoned() and folder.path.exists()
    remove_abandoned()
    assert not folder.path.exists() and not list(folder.processes())
    assert not (tmp_path / "sprung").exists()


@pytest.mark.ray
def test_nothing_is_left_when_it_stops(started: tuple[subprocess.Popen[str], Folder]) -> None:
    process, folder = started
    process.communicate("stop\n", timeout=120)
    assert process.returncode == 0 and not folder.path.exists() and not list(folder.processes())


def test_folders_of_runs_that_live_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_ray, "root", lambda: tmp_path)
    mine, killed, made_now = Folder.make(), Folder.make(), tmp_path / f"{PREFIX}x"
    ended = subprocess.Popen(["true"])
    ended.wait()
    (killed.path / "owner").write_text(f"{ended.pid} 1")
    made_now.mkdir()
    reused = Folder.make()
    (reused.path / "owner").write_text(f"{os.getpid()} 1")  # this number is another process's now
    remove_abandoned()
    assert {path.name for path in tmp_path.iterdir()} == {mine.path.name, made_now.name}


@pytest.mark.parametrize("name", ["TMPDIR", "RAY_TMPDIR"])
def test_a_temporary_folder_too_long_for_sockets_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    long = tmp_path / ("x" * 95)
    long.mkdir()
    for other in ("TMPDIR", "RAY_TMPDIR"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, str(long))
    monkeypatch.setattr(tempfile, "tempdir", None)
    assert str(root()) == "/tmp"
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OSError, match=f"RAY_TMPDIR to at most {ROOT_BYTES} bytes"):
        root()


def test_processes_of_others_are_not_its_own(tmp_path: Path) -> None:
    """A daemon that a run started inherits its environment and is not a process of Ray."""
    folder = Folder(tmp_path)
    environment = {**os.environ, **folder.environment}
    wait = [sys.executable, "-c", "input()"]
    commands = {"daemon": wait, "agent": [*wait, f"--session-dir={tmp_path}/session"]}
    running = {name: subprocess.Popen(c, env=environment, stdin=subprocess.PIPE) for name, c in commands.items()}
    try:
        until = time.monotonic() + 10
        while not (found := set(folder.processes())) and time.monotonic() < until:  # /proc fills as they start
            pass
        assert found == {running["agent"].pid}
        folder.remove()
        assert running["agent"].wait(10) == -signal.SIGKILL and running["daemon"].poll() is None
    finally:
        for process in running.values():
            process.kill()
            process.communicate()
