"""What `asid demo` and `asid sweep` print; the whole demo is run by `make demo`."""

from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pytest

from asid_core.evaluation.localisation import Row
from asid_core.evaluation.planted import FalseAlarm, Planted
from asid_core.evaluation.truth import Occurrence, Relation
from asid_core.schema import DETECTIONS
from jobs import demo, sweep, tables

RELATION = Relation("a", "b", (Occurrence(12.94, 19.94, 75.0, 82.0), Occurrence(19.94, 26.94, 75.0, 82.0)), 1.0, -2.0)


def test_a_line_for_a_sample_that_was_found_and_one_that_was_missed() -> None:
    found = Planted(RELATION, 1, Row(0.934, (13.0, 20.0), (75.0, 82.1), 1.004, None), 0.1)
    rows = [demo.line(found), demo.line(Planted(RELATION, None, None, None))]
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
    assert demo.verdict([]) == "nothing reported between tracks that share nothing"
    assert demo.verdict([FalseAlarm("a", "c", 0.812)]) == "false alarms: a < c (0.81)"


def _detections(count: int) -> pa.Table:
    rows = [
        {
            "query_id": f"q{i}.wav", "reference_id": "r.wav", "score": i / count, "query_start_s": 61.04,
            "query_end_s": 65.0, "reference_start_s": 0.0, "reference_end_s": 4.0, "coarse_score": 0.5,
            "tempo_ratio": 1.0, "pitch_semitones": 3.0, "num_windows": 9, "kind": "sample", "rank": 1,
            "sweep_id": "s", "model_id": "m",
        }
        for i in range(count)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=DETECTIONS)


def test_the_best_are_shown_and_all_are_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep.show(_detections(25), str(tmp_path / "new" / "all.csv"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["score", "query", "from", "to", "samples", "from", "to", "tempo", "pitch", "kind"]
    assert lines[1].split() == [
        "0.96",
        "q24.wav",
        "1:01.0",
        "1:05.0",
        "r.wav",
        "0:00.0",
        "0:04.0",
        "1.00",
        "+3.0",
        "sample",
    ]
    assert len(lines) == 22 and lines[-1].startswith("... and 5 more")
    exported = pyarrow.csv.read_csv(tmp_path / "new" / "all.csv")
    assert exported.num_rows == 25 and exported.column_names == DETECTIONS.names


def test_no_detections_print_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    sweep.show(_detections(0), None)
    assert capsys.readouterr().out == ""


def test_an_export_of_another_kind_is_refused_before_any_work(capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep.main(["--catalogue", "nowhere", "--export", "x.xlsx"]) == 2
    assert ".csv, .json or .parquet" in capsys.readouterr().err
