"""Exports, read back with third-party readers."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path

import mir_eval
import networkx
import pandas
import pyarrow.parquet as pq
import pytest

from asid_core.schema import DETECTIONS
from pipelines.report import exports as module
from pipelines.report.findings import Findings, Track, newest_findings
from pipelines.store.catalogue import Catalogue
from pipelines.store.location import Location
from tests.pipelines import fake_sweep


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    return newest_findings(fake_sweep.make(str(tmp_path_factory.mktemp("exchange") / "cat")), 100)


@pytest.fixture(scope="module")
def exports(findings: Findings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("exports")
    names = module.write_exports(findings, Location(str(place)))
    assert sorted(names) == sorted(path.name for path in place.iterdir())
    return place


def test_panako_csv(exports: Path) -> None:
    with (exports / "detections.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter=";"))
    assert tuple(rows[0]) == module.PANAKO and len(rows) == 8
    first = rows[0]
    assert (first["Query path"], first["Match path"]) == ("b/young.wav", "b/old.wav")
    assert (first["Query start (s)"], first["Match stop (s)"]) == ("6.000", "6.000")
    # 25 % faster: it lasts 80 % of the original; two semitones up are 12.2 % more
    assert (first["Time factor (%)"], first["Frequency factor (%)"]) == ("80.0", "112.2")


def test_json_lines_and_parquet_say_the_same(exports: Path, findings: Findings) -> None:
    lines = [json.loads(line) for line in (exports / "detections.jsonl").read_text("utf-8").splitlines()]
    table = pq.read_table(exports / "detections.parquet")
    assert table.to_pylist() == lines and table.num_rows == 8 and table["relation"].to_pylist()[4:6] == [4, 4]
    assert table.schema.names[: len(DETECTIONS)] == DETECTIONS.names
    assert (lines[0]["query_artist"], lines[0]["query_year"], lines[0]["reference_year"]) == ("MC Young", 1994, 1971)
    assert fake_sweep.SCRIPT in table.column("reference_title").to_pylist()


def test_relations_are_one_row_per_pair_in_every_format(exports: Path) -> None:
    rows = pq.read_table(exports / "relations.parquet").to_pylist()
    assert rows == [json.loads(line) for line in (exports / "relations.jsonl").read_text("utf-8").splitlines()]
    table = pandas.read_csv(exports / "relations.csv")
    assert len(table) == len(rows) == 7 and list(table.columns) == list(rows[0])
    assert len(set(table.relation_id)) == 7 and table.places.tolist() == [1, 1, 1, 1, 2, 1, 1]
    first = table.iloc[0]
    assert (first.query_id, first.reference_id, first.decided_by) == ("b/young.wav", "b/old.wav", "years")
    assert (first.query_artist, first.reference_year) == ("MC Young", 1971)
    duckdb = pytest.importorskip("duckdb")
    query = f"select count(*), sum(places) from '{exports / 'relations.csv'}' where kind = 'sample'"
    assert duckdb.sql(query).fetchall() == [(6, 7)]


@pytest.mark.parametrize("name", ["relations", "detections"])
def test_pandas_and_duckdb_open_every_table_without_options(exports: Path, name: str) -> None:
    duckdb = pytest.importorskip("duckdb")
    rows = 7 if name == "relations" else 8
    read = {"parquet": pandas.read_parquet, "jsonl": lambda path: pandas.read_json(path, lines=True)}
    read["csv"] = pandas.read_csv if name == "relations" else lambda path: pandas.read_csv(path, sep=";")
    for ending, reader in read.items():
        path = exports / f"{name}.{ending}"
        assert len(reader(path)) == rows
        assert duckdb.sql(f"select count(*) from '{path}'").fetchall() == [(rows,)]


def test_further_columns_of_a_manifest_travel_with_each_side(tmp_path: Path) -> None:
    catalogue = Catalogue(str(tmp_path / "cat"), create=True, geometry=fake_sweep.GEOMETRY)
    manifest = {"a": json.dumps({"title": "T", "publisher": "P", "id": "7", "contract": "x\n=1+1"}), "b": None}
    tracks = {name: fake_sweep.wave(1, 12.0) for name in "ab"}
    fake_sweep.add_tracks(catalogue, tracks, manifest=manifest, label={"b": "L"}, album={"b": "Al"}, isrc={"b": "I"})
    fake_sweep.add_sweep(catalogue, [fake_sweep.detection("a", "b")])
    module.write_exports(newest_findings(catalogue, 10), Location(str(tmp_path / "out")))
    for name in ("relations.parquet", "detections.parquet"):
        (row,) = pq.read_table(tmp_path / "out" / name).to_pylist()
        assert (row["query_publisher"], row["query_contract"], row["reference_publisher"]) == ("P", "x =1+1", None)
        assert (row["query_id"], row["query_id_"]) == ("a", "7")
        assert [row[f"reference_{key}"] for key in ("album", "isrc", "label")] == ["Al", "I", "L"]


def test_graphml(exports: Path, findings: Findings) -> None:
    graph = networkx.read_graphml(exports / "network.graphml")
    assert graph.is_directed() and graph.number_of_nodes() == len(findings.tracks)
    assert graph.nodes["b/old.wav"] == {"artist": "The Olds", "year": 1971}
    assert graph.nodes["a/script.wav"]["title"] == fake_sweep.SCRIPT
    edge = graph.edges["b/other.wav", "b/old.wav"]
    assert edge == {"kind": "sample", "score": pytest.approx(0.7, abs=1e-3), "times": 2, "direction": "years"}
    assert "a/control��.wav" in graph  # XML cannot hold control characters


@pytest.mark.parametrize(("archive", "ending"), [("sonic-visualiser.zip", "csv"), ("audacity-labels.zip", "txt")])
def test_layers_are_one_file_per_track_and_role(exports: Path, findings: Findings, archive: str, ending: str) -> None:
    with zipfile.ZipFile(exports / archive) as opened:
        names = opened.namelist()
        other = module.file_name(findings.tracks["b/old.wav"]) + ".sampled_by." + ending
        text = opened.read(other).decode()
    assert len(names) == len(set(names)) and all("/" not in name and ".." not in name for name in names)
    first = "sampled by MC Young - young.wav (0.95)"
    if ending == "csv":
        times, values, durations, labels = mir_eval.io.load_delimited(
            io.StringIO(text), [float, float, float, str], ","
        )
        assert (times[0], values[0], durations[0], labels[0]) == (2.0, 0.95, 4.0, first)
    else:
        intervals, labels = mir_eval.io.load_labeled_intervals(io.StringIO(text), "\t")
        times = intervals[:, 0].tolist()
        assert (*intervals[0], labels[0]) == (2.0, 6.0, first)
    assert times == sorted(times) and len(labels) == 3


@pytest.mark.parametrize("track_id", ["../../etc/passwd", "a/..", "C:\\x\\con?.wav", "/", "x" * 500, "\u202egpj.wav"])
def test_file_names_are_safe(track_id: str) -> None:
    name = module.file_name(Track(track_id))
    assert not set('/\\:?*<>|"\u202e') & set(name) and name not in ("", ".", "..") and len(name) < 100
