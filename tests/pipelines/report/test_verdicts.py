"""Verdicts: from the saved file into the catalogue, and from there into reports, exports and tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from asid_core.config import Config
from asid_core.schema import TRACKS
from jobs import cli
from pipelines.report.findings import newest_findings
from pipelines.report.page import report
from pipelines.store import verdicts
from pipelines.store.catalogue import Catalogue, CatalogueError
from pipelines.store.location import Location
from tests.pipelines import fake_sweep
from tests.pipelines.fake_sweep import add_sweep, detection


@pytest.fixture()
def catalogue(tmp_path: Path) -> Catalogue:
    return fake_sweep.make(str(tmp_path / "cat"))


def file_of(path: Path, catalogue: Catalogue, *said: str, when: str = "2026-01-02T03:04:05.678Z") -> Path:
    """Write a file of verdicts as the report does, for the first relations."""
    rows = newest_findings(catalogue, 100).relations.to_pylist()
    listed: list[dict[str, Any]] = [
        {"relation": row["relation_id"], "query": row["query_id"], "reference": row["reference_id"], "verdict": verdict}
        for row, verdict in zip(rows, said, strict=False)
    ]
    path.write_text(json.dumps({"verdicts": [one | {"note": "a note", "when": when} for one in listed]}))
    return path


def review(catalogue: Catalogue, *arguments: str) -> int:
    return cli.main(["review", "--catalogue", catalogue.location.uri, *arguments])


def test_verdicts_go_in_are_listed_and_are_in_exports(
    catalogue: Catalogue, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = file_of(tmp_path / "verdicts.json", catalogue, "confirmed", "not a sample")
    assert review(catalogue, str(file), "--who", "Ann") == 0
    assert "added 2 verdicts by Ann" in capsys.readouterr().out
    assert review(catalogue, "--list") == 0
    assert "confirmed" in (listed := capsys.readouterr().out) and "2026-01-02" in listed and "Ann" in listed
    assert "MC Young - young.wav" in listed  # names, not track ids
    assert review(catalogue, "--list", "--format", "json") == 0
    assert {row["verdict"] for row in json.loads(capsys.readouterr().out)} == {"confirmed", "not a sample"}
    report(catalogue, Location(str(tmp_path / "out")), Config())
    rows = pq.read_table(tmp_path / "out/exports/relations.parquet").to_pylist()
    assert [row["verdict"] for row in rows[:3]] == ["confirmed", "not a sample", None]
    assert (rows[0]["said_by"], rows[0]["note"]) == ("Ann", "a note")
    line = json.loads((tmp_path / "out/exports/relations.jsonl").read_text().splitlines()[0])
    assert line["verdict"] == "confirmed" and line["said_at"].startswith("2026-01-02")


def test_the_latest_verdict_counts_and_can_be_withdrawn(catalogue: Catalogue, tmp_path: Path) -> None:
    for said, day in (("unsure", 3), ("confirmed", 2), ("not a sample", 5)):
        file = file_of(tmp_path / "v.json", catalogue, said, when=f"2026-01-0{day}T00:00:00Z")
        assert review(catalogue, str(file)) == 0
        assert len(verdicts.read(catalogue)) == 1
    (row,) = verdicts.read(catalogue).values()
    assert row["verdict"] == "not a sample"
    assert (
        review(catalogue, str(file_of(tmp_path / "v.json", catalogue, "withdrawn", when="2026-02-01T00:00:00Z"))) == 0
    )
    assert verdicts.read(catalogue) == {}


@pytest.mark.parametrize(
    ("words", "numbers"), [(["confirmed"], [0]), (["none"], [2, 3, 4, 5, 6]), (["confirmed", "not a sample"], [0, 4])]
)
def test_reports_and_exports_can_have_only_some_verdicts(
    catalogue: Catalogue, tmp_path: Path, words: list[str], numbers: list[int]
) -> None:
    every = newest_findings(catalogue, 100)
    said = ["confirmed", "unsure"] if "none" in words else ["confirmed", "unsure", "unsure", "unsure", "not a sample"]
    assert review(catalogue, str(file_of(tmp_path / "v.json", catalogue, *said))) == 0
    arguments = [value for word in words for value in ("--verdict", word)]
    where = ["--catalogue", catalogue.location.uri, "--output", str(tmp_path / "out"), "--set", "report.sound_mb=0"]
    assert cli.main(["report", *where, *arguments, "-q"]) == 0
    shown = pq.read_table(tmp_path / "out/exports/relations.parquet")
    assert shown.column("relation_id").to_pylist() == every.relations.take(numbers).column("relation_id").to_pylist()
    places = pq.read_table(tmp_path / "out/exports/detections.parquet").to_pylist()
    for number, row in enumerate(newest_findings(catalogue, 100, only=words).relations.to_pylist()):
        some = places[row["first_place"] : row["first_place"] + row["places"]]
        assert {(p["relation"], p["query_id"]) for p in some} == {(number, row["query_id"])}
    assert len(places) == sum(shown.column("places").to_pylist())


def test_a_verdict_stays_with_the_audio(catalogue: Catalogue, tmp_path: Path) -> None:
    file = file_of(tmp_path / "v.json", catalogue, "confirmed")
    assert review(catalogue, str(file)) == 0
    old = catalogue.tracks_of(["b/old.wav"]).to_pylist()[0]
    with catalogue.writing("test"):
        catalogue.delete_tracks(["b/old.wav"])
        catalogue.commit_tracks(pa.Table.from_pylist([old | {"track_id": "renamed.wav"}], schema=TRACKS))
    add_sweep(
        catalogue, [detection("renamed.wav", "b/young.wav"), detection("b/copy.wav", "b/young.wav")], sweep_id="3"
    )
    found = {r["reference_id"]: r["verdict"] for r in newest_findings(catalogue, 9).relations.to_pylist()}
    assert found == {"renamed.wav": "confirmed", "b/young.wav": None}
    changed = old | {"track_id": "renamed.wav", "content_hash": "other audio"}
    with catalogue.writing("test"):
        catalogue.commit_tracks(pa.Table.from_pylist([changed], schema=TRACKS))
    assert set(newest_findings(catalogue, 9).relations.column("verdict").to_pylist()) == {None}


ONE = {"relation": "0123456789abcdef", "verdict": "unsure", "query": "a", "reference": "b", "when": "2026-01-01"}


@pytest.mark.parametrize(
    "changed",
    [{}, {"relation": "../../x"}, {"verdict": "great"}, {"when": "?"}, {"when": 3}, {"relation": None}],
    ids=str,
)
def test_a_file_with_anything_odd_is_refused_and_changes_nothing(
    changed: dict[str, Any], catalogue: Catalogue, tmp_path: Path
) -> None:
    good, odd = ONE, ONE | changed if changed else {}
    text = json.dumps({"verdicts": [good, odd]})
    with pytest.raises(CatalogueError, match="not a file of verdicts"):
        verdicts.parse(text.encode(), "x")
    (tmp_path / "v.json").write_text(text)
    assert review(catalogue, str(tmp_path / "v.json")) == 1 and verdicts.read(catalogue) == {}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"verdicts": 3}', "[" * 100_000, "\xff"])
def test_another_file_is_refused(text: str) -> None:
    with pytest.raises(CatalogueError, match="not a file of verdicts"):
        verdicts.parse(text.encode(), "x")


def test_neither_file_nor_list_is_wrong_usage(catalogue: Catalogue) -> None:
    assert review(catalogue) == 2


def test_the_score_is_fitted_to_verdicts(
    catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipelines.evaluate.tries_of", lambda *_: 1000)
    rows = [detection(f"q{i}", f"r{i}", 0.9 - i / 100, coarse_score=5.0 if i < 12 else 3.0) for i in range(25)]
    add_sweep(catalogue, rows, sweep_id="3")
    fit = ["bench", "fit", "--verdicts", catalogue.location.uri]
    assert cli.main(fit) == 1
    assert "0 confirmed pairs" in capsys.readouterr().err
    said = ["confirmed"] * 12 + ["not a sample"] * 12 + ["unsure"]
    assert review(catalogue, str(file_of(tmp_path / "v.json", catalogue, *said))) == 0
    capsys.readouterr()
    assert cli.main(fit) == 0
    text = capsys.readouterr().out
    assert "fitted to 24 pairs, 12 of them true" in text
    assert yaml.safe_load(text[: text.index("fitted")])["score"]["coarse"] > 1
