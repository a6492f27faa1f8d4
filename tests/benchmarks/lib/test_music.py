"""The Debian packages that supply music for the wild benchmark."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks import wild
from benchmarks.lib.music import LIST, RENDERED, SPLITS, missing, split_of
from benchmarks.lib.shared import listed


@pytest.mark.parametrize("name", SPLITS)
def test_no_package_has_two_parts_and_only_the_test_touches_test_packages(name: str) -> None:
    parts, splits = SPLITS[name], split_of()
    references = set(parts.references) - {RENDERED}
    packages = [*references, *parts.backgrounds, *parts.distractors]
    assert len(set(packages)) == len(packages) and set(packages) <= set(splits)
    wanted = "train" if name == "dev" else name
    assert {splits[package] for package in references} == {wanted}
    assert {splits[package] for package in (*parts.backgrounds, *parts.distractors)} == {"train"}


def test_without_the_music_it_says_what_to_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert missing(tmp_path, "test")[0] == "widelands-data"
    assert wild.main(["--music", str(tmp_path), "--bench", str(tmp_path / "bench")]) == 2
    assert "make -C benchmarks music" in capsys.readouterr().err


def test_all_music_of_a_package_is_kept_in_its_own_folders(tmp_path: Path) -> None:
    """Benchmarks name recordings by their folders, and shared_recordings.csv lists these names."""
    tools, scripts = tmp_path / "tools", tmp_path / "scripts"
    for folder in (tools, scripts):
        folder.mkdir()
    shutil.copy(LIST.with_name("music.sh"), scripts)
    (scripts / "music.csv").write_text("package,split\ngame-data,test\n")
    _tool(tools / "apt-get", "touch package.deb")
    _tool(
        tools / "dpkg-deb",
        'cd "$(dirname "$2")" && mkdir -p files/usr/share/games/g/sounds/music files/usr/share/doc/game-data\n'
        "echo GPL > files/usr/share/doc/game-data/copyright\n"
        "truncate -s 408577 files/usr/share/games/g/sounds/music/track.ogg\n"
        "truncate -s 408000 files/usr/share/games/g/sounds/shot.ogg",
    )
    environment = os.environ | {"PATH": f"{tools}:{os.environ['PATH']}"}
    command = ["bash", str(scripts / "music.sh"), str(tmp_path / "music")]
    for expected in ("game-data: 1 tracks\n", ""):  # the second time, nothing is fetched
        assert subprocess.run(command, env=environment, capture_output=True, text=True).stdout == expected
    files = {path.relative_to(tmp_path / "music") for path in (tmp_path / "music").rglob("*") if path.is_file()}
    track = Path("game-data/usr/share/games/g/sounds/music/track.ogg")
    assert files == {Path("game-data/copyright"), track}
    assert {row.track for row in listed()} >= {"music_ingame_14"}  # folder and file, as a benchmark names it


def _tool(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\nset -e\n{script}\n")
    path.chmod(0o755)
