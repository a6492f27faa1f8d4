"""Runs that are killed or terminated at any point and started again end with the tables of an undisturbed run.

Each test strikes one run in each of its stages, one start after another.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from tests.conftest import write_audio
from tests.faults.contents import Contents, assert_equal, contents
from tests.faults.driver import asid
from tests.faults.test_storage_faults import options
from tests.pipelines.catalogues import melody

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
STAGES = ("segment", "embed", "sweep")


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()


def terminate(process: subprocess.Popen[str]) -> None:
    process.terminate()


def kill_all(process: subprocess.Popen[str]) -> None:
    """Kill the driver and everything that it started, like an out-of-memory killer or a power cut."""
    for child in psutil.Process(process.pid).children(recursive=True):
        child.kill()
    process.kill()


def kill_workers(process: subprocess.Popen[str]) -> None:
    for child in psutil.Process(process.pid).children(recursive=True):
        name = " ".join(child.cmdline())
        if name.startswith("ray::") and "Agent" not in name:
            child.kill()


STRIKES: dict[Callable[[subprocess.Popen[str]], None], tuple[int, ...]] = {
    kill: (-signal.SIGKILL,),
    terminate: (128 + signal.SIGTERM,),
    kill_all: (-signal.SIGKILL,),
    kill_workers: (0, 1),  # Ray tries again, so often
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    folder = tmp_path_factory.mktemp("strikes")
    return folder, options(folder)


def change(music: Path) -> None:
    """Remove, rename, change and add one file each."""
    (music / "0.flac").unlink()
    (music / "1.flac").rename(music / "renamed.flac")
    write_audio(music / "2.flac", melody(9.0, 12)[:, None], 16_000)
    write_audio(music / "new.flac", melody(8.0, 13)[:, None] * np.float32(0.5), 16_000)


def job(verb: str, made: tuple[Path, list[str]], catalogue: Path, **watched: Any) -> Any:
    words = ["--corpus", str(made[0] / "music"), "--catalogue", str(catalogue), "--ray-address", "local", *made[1]]
    more = ["--max-removed", "1"] if verb == "reindex" else []
    return asid(verb, *words, *more, **watched)


@pytest.fixture(scope="module", params=["run", "reindex"])
def clean(request: pytest.FixtureRequest, made: tuple[Path, list[str]]) -> tuple[str, Contents, Path | None]:
    """The verb, its result when undisturbed, and the catalogue that it starts from."""
    verb, place = str(request.param), made[0] / f"clean-{request.param}"
    before = None
    if verb == "reindex":
        before = made[0] / "before"
        assert job("run", made, before).code == 0
        change(made[0] / "music")
        subprocess.run(["cp", "-a", str(before), str(place)], check=True)
    ended = job(verb, made, place)
    assert ended.code == 0, ended.text[-3000:]
    return verb, contents(str(place)), before


@pytest.mark.parametrize("strike", STRIKES, ids=lambda strike: strike.__name__)
def test_what_was_struck_is_finished_by_the_next_start(
    clean: tuple[str, Contents, Path | None],
    made: tuple[Path, list[str]],
    strike: Callable[[subprocess.Popen[str]], None],
    tmp_path: Path,
) -> None:
    verb, expected, before = clean
    place, is_finished = tmp_path / "c", True
    for stage in STAGES:
        if is_finished:  # or the next start has nothing to do in this stage
            begin(place, before)
        struck = job(verb, made, place, strike=strike, when=lambda event, stage=stage: event["stage"] == stage)
        assert struck.struck and struck.code in STRIKES[strike], struck.text[-3000:]
        assert "a bug of asid" not in struck.text
        if is_finished := struck.code == 0:
            assert_equal(contents(str(place)), expected)
    again = job(verb, made, place)
    assert again.code == 0, again.text[-3000:]
    assert_equal(contents(str(place)), expected)


def begin(place: Path, before: Path | None) -> None:
    """Make `place` the catalogue from which the verb starts."""
    shutil.rmtree(place, ignore_errors=True)
    if before is not None:
        subprocess.run(["cp", "-a", str(before), str(place)], check=True)
