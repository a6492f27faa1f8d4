"""The Debian packages that supply music for the wild benchmark."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import wild
from benchmarks.lib.music import RENDERED, SPLITS, missing, split_of


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
