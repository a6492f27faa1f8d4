"""The files that a run counts as read, skipped, rejected and shortened add up to the corpus."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs import cli
from pipelines.store.location import Location
from tests.conftest import tone, write_audio

pytestmark = pytest.mark.ray


def good(folder: Path) -> int:
    for name in ("a.wav", "b/c.flac", "b/d.MP3"):
        write_audio(folder / name, tone(2.0), 16_000)
    return 3


def shortened(folder: Path) -> None:
    path = write_audio(folder / "short.flac", tone(20.0), 16_000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 96 // 100])


def refused(folder: Path) -> int:
    write_audio(folder / "silent.wav", np.zeros((32_000, 1), np.float32), 16_000)
    write_audio(folder / "blip.ogg", tone(0.2), 16_000)
    (folder / "text.mp3").write_bytes(b"no music" * 100)
    (folder / "empty.opus").write_bytes(b"")
    cut = write_audio(folder / "half.flac", tone(9.0), 16_000)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    return 5


def a_folder(folder: Path) -> int:
    """Make a folder with everything that a folder may hold; returns the number of entries."""
    count = good(folder) + refused(folder)
    shortened(folder)
    (folder / "folder.wav").mkdir()
    os.mkfifo(folder / "pipe.wav")
    os.mkfifo(folder / "pipe")
    (folder / "nowhere.wav").symlink_to("nothing")
    (folder / "odd\nname.wav").write_bytes((folder / "a.wav").read_bytes())
    outside = write_audio(folder.parent / "outside.wav", tone(2.0), 16_000)
    (folder / "link.wav").symlink_to(outside)
    for name in ("cover.jpg", "notes", "list.m3u8", "._a.wav", "b/Thumbs.db"):
        (folder / name).write_bytes(b"x")
    snippet = folder / "samples/files/20260101T000000.000Z-report-0123/snippets/1.mp3"
    write_audio(snippet, tone(2.0), 16_000)
    return count + 1 + 6 + 5 + 1


def a_manifest(folder: Path) -> int:
    """Write a manifest with rows of every kind; returns their number."""
    good(folder)
    refused(folder)
    shortened(folder)
    rows = ["a.wav,A,1999", "b/c.flac,C,99?", "b/d.MP3,D,", "short.flac,S,2000", "silent.wav,,", "gone.wav,,"]
    rows += [",no uri,", "a.wav,again,", "a.wav,and again,", "b,a folder,", "text.mp3,T,", "ftp://x/y.mp3,elsewhere,"]
    rows += [f"a.wav,{'x' * 20_000},1999"]
    folder.joinpath("list.csv").write_text("\n".join(["uri,title,year", *rows]) + "\n")
    return len(rows)


@pytest.mark.parametrize(("make", "name"), [(a_folder, ""), (a_manifest, "list.csv")], ids=["folder", "manifest"])
@pytest.mark.parametrize("place", ["local", "s3"])
def test_it_adds_up(
    ray_session: Any,
    make: Callable[[Path], int],
    name: str,
    place: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "corpus").mkdir()
    there = make(tmp_path / "corpus")
    corpus = str(tmp_path / "corpus")
    if place == "s3":
        corpus, count = request.getfixturevalue("s3_bucket") + "/corpus", 0
        for path in sorted((tmp_path / "corpus").rglob("*")):
            if path.is_file() and "\n" not in path.name and not path.is_symlink():
                Location(corpus).join(*path.relative_to(tmp_path / "corpus").parts).write_bytes(path.read_bytes())
                count += 1
        there = there if name else count
    words = ["--corpus", f"{corpus}/{name}".rstrip("/"), "--catalogue", str(tmp_path / "c")]
    for turn in ("first", "again"):
        assert cli.main(["segment", *words]) == 1  # too many rejects
        told = capsys.readouterr()
        counts = counted(told.out.splitlines()[-1])
        total = sum(counts[key] for key in ("tracks", "unchanged", "moved", "rejects", "skipped"))
        assert total == there, (turn, counts, told)
        assert counts["tracks" if turn == "first" else "unchanged"] == 4
        assert counts["shortened"] == (turn == "first")
    assert cli.main(["rejects", "--catalogue", str(tmp_path / "c")]) == 0
    assert f"{counts['rejects']} rejects" in capsys.readouterr().out


def counted(line: str) -> dict[str, int]:
    """The numbers in the last line of `segment`, by what they count."""
    words = {
        "tracks": r"(\d+) tracks segmented",
        "unchanged": r"(\d+) unchanged",
        "moved": r"(\d+) moved or retitled",
        "rejects": r"(\d+) rejects",
        "skipped": r"(\d+) other files skipped",
        "shortened": r"(\d+) tracks? shortened",
    }
    found = {key: re.search(pattern, line) for key, pattern in words.items()}
    return {key: int(match[1]) if match else 0 for key, match in found.items()}
