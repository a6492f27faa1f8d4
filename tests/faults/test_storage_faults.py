"""An object store that is busy, slow, drops connections or is unavailable; a disk that is full."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asid_core.config import ProbesConfig, ScoreConfig, SearchConfig
from pipelines.store.catalogue import Catalogue
from pipelines.store.location import Location, StorageError
from tests.conftest import write_audio
from tests.faults.contents import assert_equal, contents
from tests.faults.driver import asid
from tests.faults.proxy import Fault, FaultyS3
from tests.pipelines.catalogues import LINEAR, melody, save_model

pytestmark = pytest.mark.ray


def flaky(method: str, path: str, number: int) -> Fault:
    """Of eleven requests, one is refused, one is cut off and one is slow.

    A request that is cut off has taken effect.
    """
    faults: dict[int, Fault] = {3: "busy", 6: "slow", 9: "cut" if method in ("GET", "HEAD") else "busy"}
    return faults.get(number % 11, "none")


def gone(method: str, path: str, number: int) -> Fault:
    return "busy"


@pytest.fixture()
def faulty(s3_server: str, s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyS3]:
    """A server without faults so far. The environment names it."""
    proxy = FaultyS3(s3_server, lambda *_: "none")
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
    yield proxy
    proxy.stop()


def options(folder: Path) -> list[str]:
    """A corpus of four tracks, and options that make the main job small and quick."""
    for number in range(4):
        write_audio(folder / f"music/{number}.flac", melody(6.0 + number, number)[:, None], 16_000)
    config = replace(LINEAR, probes=ProbesConfig((0.0,), (1.0,), 0.4), score=ScoreConfig(threshold=0.0))
    config = replace(config, search=SearchConfig(hits_per_window=10, shard_tracks=1))
    weights = save_model(config, folder / "w")
    return ["--weights", weights, "--set", "segment.commit_tracks=2", "--set", "segment.files_per_task=1"]


def run(corpus: str, catalogue: str, more: list[str], **watched: Any) -> Any:
    return asid("run", "--corpus", corpus, "--catalogue", catalogue, "--ray-address", "local", *more, **watched)


@pytest.mark.slow  # four and more starts of Ray each
@pytest.mark.timeout(3600)
def test_a_flaky_store_that_is_gone_for_a_while_costs_only_time(
    faulty: FaultyS3, s3_bucket: str, tmp_path: Path
) -> None:
    more = options(tmp_path)
    for file in (tmp_path / "music").iterdir():
        Location(s3_bucket).join("music", file.name).write_bytes(file.read_bytes())
    faulty.plan = flaky

    def outage(_: subprocess.Popen[str]) -> None:
        faulty.plan = gone

    few = {"AWS_MAX_ATTEMPTS": "3"}  # or the outage is sat out for minutes
    far = (f"{s3_bucket}/music", f"{s3_bucket}/c")
    failed = run(*far, more, strike=outage, when=lambda event: event["stage"] == "embed", env=few)
    assert failed.code == 1, failed.text[-3000:]
    assert "run the same command again to resume" in failed.summary, failed.text[-3000:]
    faulty.plan = flaky
    for _ in range(6):  # Lance does not ask again for a listing that breaks off: then it is the user who does
        again = run(*far, more)
        if again.code == 0:
            break
        assert "run the same command again to resume" in again.summary, again.text[-3000:]
    assert again.code == 0, again.text[-3000:]
    assert faulty.spoilt > 50
    faulty.plan = lambda *_: "none"
    assert run(str(tmp_path / "music"), str(tmp_path / "c"), more).code == 0
    assert_equal(contents(far[1]), contents(str(tmp_path / "c")))


def test_a_download_that_breaks_off_is_begun_again(faulty: FaultyS3, s3_bucket: str) -> None:
    place = Location(s3_bucket).join("x.wav")
    place.write_bytes(bytes(range(256)) * 4096)
    cuts = iter(["cut", "cut"])
    faulty.plan = lambda method, *_: next(cuts, "none") if method == "GET" else "none"  # type: ignore[assignment]
    with place.local_copy() as path:
        assert Path(path).read_bytes() == bytes(range(256)) * 4096
    faulty.plan = lambda method, *_: "cut" if method == "GET" else "none"
    with pytest.raises(StorageError, match="x.wav"), place.local_copy():
        pass


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_full_disk_fails_in_words_and_the_next_start_completes(tmp_path: Path) -> None:
    """A file system of 1 MB; the segments of four tracks take 1.5 MB."""
    more = options(tmp_path)
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting is not permitted here")
    try:
        failed = run(str(tmp_path / "music"), str(disk / "c"), more)
        assert failed.code == 1 and "No space left" in failed.summary, failed.text[-3000:]
        assert "run the same command again to resume" in failed.summary
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        again = run(str(tmp_path / "music"), str(disk / "c"), more)
        assert again.code == 0, again.text[-3000:]
        assert run(str(tmp_path / "music"), str(tmp_path / "c"), more).code == 0
        assert_equal(contents(str(disk / "c")), contents(str(tmp_path / "c")))
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_leaves_what_was_committed_readable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulated by a failing last step, for machines where nothing can be mounted."""
    catalogue = Catalogue(str(tmp_path / "c"), create=True)
    place = catalogue.location.join("x.json")
    place.write_bytes(b"old")

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        place.write_bytes(b"new")
    assert place.read_bytes() == b"old"
    assert [path.name for path in (tmp_path / "c").iterdir() if path.suffix == ".tmp"] == []
