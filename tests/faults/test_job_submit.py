"""The main job started as on a cluster: `ray job submit` to a head node with a dashboard."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import FOLDER
from tests.faults.contents import contents
from tests.faults.driver import ROOT
from tests.faults.test_storage_faults import options

PAGE = ROOT / "cluster" / "README.md"
BIN = Path(sys.executable).parent
SUBMISSIONS = 20  # of some seconds each, until the agent of a new head answers


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture()
def head() -> Iterator[str]:
    """Address of the dashboard of a Ray that was started with `ray start --head`."""
    dashboard = free_port()
    command = [str(BIN / "ray"), "start", "--head", "--block", f"--port={free_port()}", f"--dashboard-port={dashboard}"]
    # a default port may belong to another Ray of this machine; then the agent serves nothing, and no job ever starts
    command += [f"--{name}={free_port()}" for name in ("dashboard-agent-listen-port", "ray-client-server-port")]
    command += ["--num-cpus=2", "--object-store-memory=200000000", "--disable-usage-stats"]
    command += [f"--temp-dir={FOLDER.sessions}"]  # removed when the tests end
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment) as ray:
        try:
            assert ray.stdout is not None
            said = []
            for line in ray.stdout:
                said.append(line)
                if "Ray runtime started" in line:
                    break
            assert ray.poll() is None, "".join(said)
            yield f"http://127.0.0.1:{dashboard}"
        finally:
            ray.terminate()


def submit(command: list[Any], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run `ray job submit`; repeat it while the agent of a new head does not answer yet."""
    for _ in range(SUBMISSIONS):
        ended = subprocess.run(command, capture_output=True, text=True, cwd=folder)
        if "No available agent" not in ended.stderr:
            break
    return ended


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_line_of_the_page_runs_the_main_job(head: str, tmp_path: Path) -> None:
    found = re.search(r"^\s*`?(ray job submit .*--ray-address auto)", PAGE.read_text(), re.M)
    assert found, "cluster/README.md no longer says how to submit a job"
    words = found[1].split()
    uris = {"--address": head, "--corpus": str(tmp_path / "music"), "--catalogue": str(tmp_path / "c")}
    for name, value in uris.items():
        words[words.index(name) + 1] = value
    more = options(tmp_path)
    ended = submit([BIN / words[0], *words[1:], *more], tmp_path)
    assert ended.returncode == 0, (ended.stdout + ended.stderr)[-4000:]
    assert "4 tracks segmented" in ended.stdout and "succeeded" in ended.stdout
    counts = contents(str(tmp_path / "c")).counts
    print(counts)
    assert counts["tracks"] == 4 and counts["detections"] > 0
