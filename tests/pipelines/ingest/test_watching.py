"""When asid watch starts a reindex: at once, after changes have settled, and periodically."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from pipelines.ingest.watching import changes, is_of_corpus
from pipelines.store.location import Location


def test_a_new_file_is_noticed_and_a_file_that_is_no_recording_is_not(tmp_path: Path) -> None:
    (tmp_path / "music").mkdir()
    times = changes(Location(str(tmp_path / "music")), Location(str(tmp_path / "cat")), every_s=3600, settle_s=0.2)
    next(times)  # at once
    (tmp_path / "music" / "cover.jpg").write_bytes(b"x")
    noticed = threading.Event()

    def wait() -> None:
        next(times)
        noticed.set()

    threading.Thread(target=wait, daemon=True).start()
    assert not noticed.wait(0.7)
    (tmp_path / "music" / "new.flac").write_bytes(b"x")
    assert noticed.wait(20)


def test_it_looks_again_after_a_while_and_a_bucket_is_only_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = changes(Location(str(tmp_path)), Location(str(tmp_path / "cat")), every_s=0.1, settle_s=0.05)
    for _ in range(3):
        next(times)
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    times = changes(Location("s3://bucket/music"), Location("s3://bucket/cat"), every_s=60, settle_s=1)
    for _ in range(3):
        next(times)
    assert slept == [60, 60]


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("/music/a.flac", True), ("/music/new album", True), ("/music/cover.jpg", False), ("/music/cat", False),
        ("/music/cat/segments/r", False), ("/music/catalogue of 1971", True),
    ],
)  # fmt: skip
def test_what_may_be_a_recording(path: str, counts: bool) -> None:
    assert is_of_corpus(path, "/music/cat") is counts
