"""How the verbs print relations."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas
import pyarrow as pa
import pytest

from asid_core.config import Config
from asid_core.schema import DETECTIONS
from jobs import query, relations, sweep, tables
from jobs.command import Session
from pipelines.report.findings import findings_of
from pipelines.store.catalogue import Catalogue
from tests.pipelines import fake_sweep
from tests.pipelines.fake_sweep import detection

LONG = "a folder of music/An artist with a long name - a title that is even longer (a remix of it).flac"


@pytest.fixture()
def catalogue(tmp_path: Path) -> Catalogue:
    made = Catalogue(str(tmp_path / "cat"), create=True, geometry=fake_sweep.GEOMETRY)
    tracks = {name: fake_sweep.wave(i, 12.0) for i, name in enumerate(("old.wav", "new.wav", LONG, "夢" * 60))}
    years = {"old.wav": 1970, "new.wav": 1990}
    fake_sweep.add_tracks(made, tracks, title={"new.wav": "New"}, artist={"new.wav": "B"}, year=years)
    return made


def session(format: str, export: str | None = None) -> Session:
    return Session(argparse.Namespace(format=format, export=export), Config(), lambda event: None)


def rows_of(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=DETECTIONS)


ROWS = rows_of(
    detection("old.wav", "new.wav", 0.94),
    detection(
        "new.wav", "old.wav", 0.9, query_start_s=6.0, query_end_s=10.0, reference_start_s=2.0, reference_end_s=6.0
    ),
    detection("new.wav", "old.wav", 0.9, query_start_s=0.0, query_end_s=3.0),
    detection(LONG, "夢" * 60, 0.8),
    detection("new.wav", LONG, 0.7, kind="duplicate"),
)


def test_the_closing_table_has_a_line_for_each_pair_and_fits_80_columns(
    catalogue: Catalogue, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    counts = sweep.show(session("table"), catalogue, ROWS)
    head, first, second, third = capsys.readouterr().out.splitlines()
    assert head.split() == ["score", "track", "samples", "times", "total", "tempo", "pitch", "direction"]
    assert first.split() == ["0.94", "B", "-", "New", "old.wav", "2", "0:07.0", "1.00", "+0.0", "by", "year"]
    assert second.endswith("unknown") and third.endswith("duplicate")
    assert max(map(tables.num_cells, (head, first, second, third))) <= 80
    assert "An arti" in second and ").flac" in second and "…" in second  # both ends of a name are kept
    assert counts == "2 pairs with samples, 1 near-duplicate, 4 places"


def test_json_and_csv_hold_all_relations_and_places(
    catalogue: Catalogue, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export = tmp_path / "new" / "all.csv"
    sweep.show(session("json", str(export)), catalogue, ROWS)
    rows = json.loads(capsys.readouterr().out)
    assert [(r["query_id"], len(r["places"])) for r in rows] == [("new.wav", 2), (LONG, 1), ("new.wav", 1)]
    assert rows[0]["places"][0]["query_start_s"] == 6.0 and rows[0]["decided_by"] == "years"
    assert len(pandas.read_csv(export)) == 5
    sweep.show(session("csv"), catalogue, ROWS)
    (tmp_path / "relations.csv").write_text(capsys.readouterr().out)
    assert pandas.read_csv(tmp_path / "relations.csv").places.tolist() == [2, 1, 1]


def test_a_long_table_is_cut_off_and_a_common_source_is_named(
    catalogue: Catalogue, capsys: pytest.CaptureFixture[str]
) -> None:
    same = {"query_start_s": 6.0, "query_end_s": 10.0}
    shared = [detection("a", "b"), detection("b", "c", **same), detection("a", "c")]
    many = [detection(f"q{i}", "r", 0.5) for i in range(25)]
    sweep.show(session("table"), catalogue, rows_of(*shared, *many))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + relations.SHOWN + 2 and lines[-2] == "... and 8 more (--format csv prints all)"
    assert lines[-1] == "3 tracks share one source, which may not be in the catalogue"


def test_a_common_source_with_a_long_name_fits_the_terminal(
    catalogue: Catalogue, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    same = {"query_start_s": 6.0, "query_end_s": 10.0, "direction": 0.9}
    shared = [detection("a", LONG, direction=0.9), detection("b", LONG, **same), detection("a", "b", direction=0.9)]
    sweep.show(session("table"), catalogue, rows_of(*shared))
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("3 tracks share one source: ") and last.endswith(", or one outside the catalogue")
    assert "…" in last and tables.num_cells(last) <= 80


def test_nothing_found_prints_nothing(catalogue: Catalogue, capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep.show(session("table"), catalogue, rows_of()) == "0 pairs with samples, 0 places"
    assert capsys.readouterr().out == ""


def test_query_lists_what_a_file_plays_when(catalogue: Catalogue, capsys: pytest.CaptureFixture[str]) -> None:
    late = detection("mix.mp3", "old.wav", 0.9, query_start_s=3700.0, query_end_s=3704.0)
    rows = rows_of(late, detection("mix.mp3", "new.wav", 0.8), detection("mix.mp3", "old.wav", 0.7))
    query.show(findings_of(catalogue, rows), rows.to_pylist(), "table")
    table = capsys.readouterr().out.split("What mix.mp3 plays:\n")[1].splitlines()
    assert [line.split()[0] for line in table] == ["at", "0:02.0", "0:02.0", "61:40.0"]
    assert "B - New" in table[1]


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("abcdefghij", 10, "abcdefghij"),
        ("abcdefghij", 7, "abc…hij"),
        ("abcdefghij", 6, "abc…ij"),
        ("夢夢夢夢", 6, "夢…夢"),
    ],
)
def test_texts_are_shortened_in_the_middle(text: str, width: int, shown: str) -> None:
    assert tables.shortened(text, width) == shown


@pytest.mark.parametrize("verb", [["report", "--help"], ["rejects", "--format", "csv", "--catalogue"]])
def test_a_reader_that_exits_early_is_not_an_error(verb: list[str], tmp_path: Path) -> None:
    if verb[-1] == "--catalogue":
        made = Catalogue(str(tmp_path / "cat"), create=True)
        long = {"stage": "segment", "error_type": "x", "error": "y" * 1000}
        with made.writing("test"):
            made.write_rejects("r", [{"track_id": f"t{i}", "uri": "u", **long} for i in range(1000)])
        verb = [*verb, str(tmp_path / "cat")]
    code = f"import sys; from jobs.cli import main; sys.exit(main({verb!r}))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    complaints = process.stderr.read().decode()
    assert process.wait(60) == 0 and "Traceback" not in complaints and "BrokenPipe" not in complaints
