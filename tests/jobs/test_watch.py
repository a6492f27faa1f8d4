"""asid watch reindexes again and again, even after one reindex has failed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs import cli
from jobs.command import Outcome, Session
from pipelines.store.errors import CatalogueError, LeaseError, StoreFailure


def test_what_goes_wrong_once_is_said_and_the_next_change_is_handled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    happens = [LeaseError("held by another"), StoreFailure("busy"), CatalogueError("half is gone"), None]
    stopped: list[bool] = []

    def times(*_: object) -> Iterator[None]:
        yield from [None] * len(happens)

    def work(_: Session) -> Outcome:
        if error := happens.pop(0):
            raise error
        return Outcome("1 new")

    monkeypatch.setattr("pipelines.ingest.watching.changes", times)
    monkeypatch.setattr("jobs.reindex.work", work)
    monkeypatch.setattr("pipelines.runtime.stop_ray", lambda: stopped.append(True))
    argv = ["watch", "--corpus", str(tmp_path), "--catalogue", str(tmp_path / "cat")]
    assert cli.main(argv) == 0
    shown = capsys.readouterr()
    assert shown.out == "1 new\n" and len(stopped) == 4
    assert [line.split("; trying")[0] for line in shown.err.splitlines() if "trying again later" in line] == [
        "asid watch: held by another",
        "asid watch: busy",
        "asid watch: half is gone",
    ]


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "soon"])
def test_a_time_that_is_none_is_wrong_usage(value: str, tmp_path: Path) -> None:
    assert cli.main(["watch", "--corpus", "x", "--catalogue", "y", "--every", value]) == 2
