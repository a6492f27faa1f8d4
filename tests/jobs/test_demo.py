"""What `asid demo` and `asid sweep` print. `make demo` runs the whole demo."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from asid_core.evaluation.localisation import Row
from asid_core.evaluation.planted import FalseAlarm, Planted
from asid_core.evaluation.truth import Occurrence, Relation, Truth
from asid_core.schema import DETECTIONS
from jobs import cli, demo, tables

RELATION = Relation("a", "b", (Occurrence(12.94, 19.94, 75.0, 82.0), Occurrence(19.94, 26.94, 75.0, 82.0)), 1.0, -2.0)


def test_found_and_missed_samples_each_have_a_line() -> None:
    planted = Planted(RELATION, 1, Row(0.934, (13.0, 20.0), (75.0, 82.1), 1.004, None), 0.1)
    rows = [demo.line(planted), demo.line(Planted(RELATION, None, None, None))]
    lines = tables.aligned(rows, demo.COLUMNS).splitlines()
    assert lines[1].split() == [
        "a",
        "0:12.9",
        "x2",
        "b",
        "1:15.0-1:22.0",
        "1.00",
        "x,",
        "-2.0",
        "st",
        "1.00",
        "x,",
        "-",
        "st",
        "1",
        "0.93",
        "0.10",
    ]
    assert "missed" in lines[2] and lines[2].split()[-3:] == ["-", "-", "-"]


def test_false_alarms_are_named() -> None:
    assert demo.verdict([]) == "no false alarms"
    assert demo.verdict([FalseAlarm("a", "c", 0.812)]) == "false alarms: a < c (0.81)"


def test_an_unknown_export_format_is_refused_before_any_work(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sweep", "--catalogue", "nowhere", "--export", "x.xlsx"]) == 2
    assert ".csv, .json or .parquet" in capsys.readouterr().err


def test_detections_are_read_before_the_temporary_folder_is_removed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Swept:
        """Reads its parts when asked, as a sweep does."""

        def __init__(self, folder: Path) -> None:
            self.folder = folder

        @property
        def of_all_queries(self) -> pa.Table:
            assert self.folder.is_dir()
            return DETECTIONS.empty_table()

    def main_job(session: Any, corpus: str, catalogue: Any) -> Any:
        return SimpleNamespace(swept=Swept(Path(corpus).parent), segmented=SimpleNamespace(audio_s=0.0))

    monkeypatch.setattr("asid_core.synthetic.demo_music.write_demo", lambda folder: Truth((), (), ()))
    monkeypatch.setattr("pipelines.runtime.start_ray", lambda address: None)
    monkeypatch.setattr("jobs.run.main_job", main_job)
    assert cli.main(["demo"]) == 1
    assert "0 of 0 samples" in capsys.readouterr().out
