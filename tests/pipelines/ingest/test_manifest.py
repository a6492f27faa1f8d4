"""Manifests with every kind of separator, encoding, year and URI, and manifests that must be refused."""

from __future__ import annotations

import datetime
import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.ingest.corpus import Corpus, CorpusError, CorpusFile, Refusal
from pipelines.ingest.manifest import year_of

SONGS = ("song 1.flac", "song 2.flac", "song 3.flac", "a#b?c %20.flac")


@pytest.fixture()
def folder(tmp_path: Path) -> Path:
    for name in SONGS:
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def listed(folder: Path, content: bytes | str, name: str = "m.csv") -> list[CorpusFile | Refusal]:
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return list(Corpus(str(folder / name)))


def one(folder: Path, content: bytes | str, name: str = "m.csv") -> CorpusFile:
    (file,) = listed(folder, content, name)
    assert isinstance(file, CorpusFile), file
    return file


def refused(folder: Path, content: bytes | str, name: str = "m.csv") -> str:
    (refusal,) = listed(folder, content, name)
    assert isinstance(refusal, Refusal), refusal
    return refusal.error


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_separators_encodings_and_line_ends(folder: Path, encoding: str, separator: str, newline: str) -> None:
    rows = [["URI", " Title ", "Year"], ["song 1.flac", '"Ä, ""b""; c\t|"', "1999"], [""], ["song 2.flac", "B", ""]]
    text = newline.join(separator.join(row) for row in rows) + newline
    first, second = listed(folder, text.encode(encoding))
    assert isinstance(first, CorpusFile) and isinstance(second, CorpusFile)
    assert (first.title, first.year, second.title) == ('Ä, "b"; c |', 1999, "B")


@pytest.mark.parametrize("before", ["sep=;\n", "\n", "\r\n \r\n", "SEP=;\r\n\r\n", "\ufeff\n"])
def test_what_stands_before_the_names_of_the_columns(folder: Path, before: str) -> None:
    assert one(folder, before + "uri;title\nsong 1.flac;A\n").title == "A"
    at = len(before.splitlines()) + 2
    with pytest.raises(CorpusError, match=f"line {at} of .*quote"):
        listed(folder, before + 'uri;title\nsong 1.flac;"A\n')


@pytest.mark.parametrize(
    ("given", "year"),
    [("1994-05-02", 1994), ("1994?", 1994), ("c. 1970", 1970), ("ca.1970", 1970), ("05/02/1994", 1994),
     ("1994.0", 1994), ("[1994]", 1994), ("1994/95", 1994), ("19940502", 1994), (1994, 1994), (1994.0, 1994),
     ("©1994", 1994), (datetime.date(1994, 5, 2), 1994), ("1994-05-02T00:00:00Z", 1994), ("MCM", None),
     (10**12, None), ("10" * 6, None), (-1970, None), ("-5", None),
     (1e300, None), (math.nan, None), (math.inf, None), ("0000", None), ("94", None),
     (True, None), ([1994], 1994), ("", None), (None, None), ("5000000000", None)],
)  # fmt: skip
def test_years(given: Any, year: int | None) -> None:
    assert year_of(given) == year


def test_a_year_that_is_none_is_left_empty_and_counted(folder: Path) -> None:
    (folder / "m.jsonl").write_text('{"uri": "song 1.flac", "year": 1e12}\n{"uri": "song 2.flac", "year": "soon"}\n')
    corpus = Corpus(str(folder / "m.jsonl"))
    assert [item.year for item in corpus if isinstance(item, CorpusFile)] == [None, None] and corpus.empty_years == 2


@pytest.mark.parametrize("start", ["file://", "file://localhost", "file:", "FILE://", "file://LOCALHOST"])
def test_file_uris(folder: Path, start: str) -> None:
    for name in SONGS:
        quoted = name.replace("%", "%25").replace(" ", "%20").replace("#", "%23").replace("?", "%3F")
        assert one(folder, f"uri\n{start}{folder}/{quoted}\n").uri == str(folder / name)
        assert one(folder, f"uri\n{start}{folder}/{name}\n").uri == str(folder / name)  # a path, in truth
    assert "another machine (nas)" in refused(folder, f"uri\nfile://nas{folder}/song%201.flac\n")


@pytest.mark.parametrize(
    ("title", "read"),
    [("two\nlines", "two lines"), ("two\r\nlines", "two lines"), ("a\x00b\x1bc\u2028d", "a b c d"), (" \t ", None),
     (7, "7"), (None, None), ({"x": 1}, None), (True, None)],
)  # fmt: skip
def test_titles_become_one_line(folder: Path, title: Any, read: str | None) -> None:
    assert one(folder, json.dumps({"uri": "song 1.flac", "title": title}), "m.jsonl").title == read
    if isinstance(title, str):
        assert one(folder, f'uri,title\nsong 1.flac,"{title}"\n').title == read


@pytest.mark.parametrize("column", ["title", "artist", "isrc", "uri", "track_id"])
def test_latin_1_names_the_field_and_what_to_do(folder: Path, column: str) -> None:
    names = "uri,title" if column == "uri" else f"uri,{column}"
    row = b"caf\xe9.flac,x" if column == "uri" else b"song 1.flac,Caf\xe9"
    assert f"the {column} is not UTF-8" in (error := refused(folder, names.encode() + b"\n" + row + b"\n"))
    assert "Save the manifest as UTF-8" in error


@pytest.mark.parametrize(
    ("rows", "line"),
    [('song 1.flac,"Say hello\nsong 2.flac,B\nsong 3.flac,C\n', 2),
     ('song 1.flac,A\nsong 2.flac,"B\nsong 3.flac,C\n', 3),
     ('song 1.flac,"Say\nsong 2.flac,B"\n', 2), ('song 1.flac,"Say "hello""\n', 2),
     ('song 1.flac,"A\nsong 2.flac,"B"\n', 2)],
)  # fmt: skip
def test_an_open_quote_swallows_nothing(folder: Path, rows: str, line: int) -> None:
    with pytest.raises(CorpusError, match=f"line {line} of .*m.csv.*quote"):
        listed(folder, "uri,title\n" + rows)


def test_long_fields_and_too_many_fields_cost_one_row(folder: Path) -> None:
    bad, good = listed(folder, f"uri,title\nsong 1.flac,{'x' * 140_000}\nsong 2.flac,B\n")
    assert isinstance(bad, Refusal) and "title has 140,000 characters" in bad.error and isinstance(good, CorpusFile)
    bad, good = listed(folder, "uri,title\nsong 1.flac,Hello, world\nsong 2.flac,B\n")
    assert isinstance(bad, Refusal) and "3 fields" in bad.error and isinstance(good, CorpusFile)
    with pytest.raises(CorpusError, match="line 2 of .* longer than 16 MB"):
        listed(folder, "uri,title\nsong 1.flac," + "x" * (17 << 20))


@pytest.mark.parametrize("line", ["[" * 20_000, '{"a":' * 20_000, "[1]", "3", "{", '{"uri": ' + "9" * 5000 + "}"])
def test_bad_json_costs_one_row(folder: Path, line: str) -> None:
    bad, good = listed(folder, line + '\n{"URI": "song 1.flac", "year": 99999999999}\n', "m.jsonl")
    assert isinstance(bad, Refusal) and isinstance(good, CorpusFile)


def test_parquet_of_any_types(folder: Path) -> None:
    table = pa.table({
        "Uri": pa.array(["song 1.flac", "song 2.flac"]),
        "year": pa.array([10**12, 1994], pa.int64()),
        "title": pa.array([b"Caf\xc3\xa9", b"x"], pa.binary()),
        "other": pa.array([[{"a": 1}], None]),
    })  # fmt: skip
    pq.write_table(table, folder / "m.parquet")
    first, second = list(Corpus(str(folder / "m.parquet")))
    assert isinstance(first, CorpusFile) and (first.title, first.year) == ("Café", None)
    assert isinstance(second, CorpusFile) and second.year == 1994


@pytest.mark.parametrize(
    "kind", [pa.timestamp("us"), pa.timestamp("ms", "Europe/Berlin"), pa.date64(), pa.duration("s")]
)
def test_a_date_of_any_age_costs_nothing(folder: Path, kind: pa.DataType) -> None:
    years = pa.array([2**61 // 86_400_000 * 86_400_000, 0], kind)
    pq.write_table(pa.table({"uri": ["song 1.flac", "song 2.flac"], "year": years}), folder / "m.parquet")
    first, second = list(Corpus(str(folder / "m.parquet")))
    assert isinstance(first, CorpusFile) and isinstance(second, CorpusFile)
    assert (first.year, second.year) == (None, None if kind == pa.duration("s") else 1970)


@pytest.mark.parametrize("damage", [b"", b"PAR1", b"PAR1" + b"\0" * 500 + b"PAR1"])
def test_a_broken_parquet_is_named(folder: Path, damage: bytes) -> None:
    with pytest.raises(CorpusError, match="m.parquet is damaged or not a Parquet file"):
        listed(folder, damage, "m.parquet")


def test_a_cut_parquet_is_named(folder: Path) -> None:
    pq.write_table(pa.table({"uri": ["song 1.flac"] * 1000}), folder / "m.parquet")
    whole = (folder / "m.parquet").read_bytes()
    with pytest.raises(CorpusError, match=r"m\.parquet"):
        listed(folder, whole[:40] + b"\xff" * 40 + whole[80:], "m.parquet")
        listed(folder, whole[:-100], "m.parquet")


def test_what_has_no_uri_says_what_it_has(folder: Path) -> None:
    for content in ("path;title\nx;y\n", b"\x89PNG\r\n\x1a\n" + bytes(99), ""):
        with pytest.raises(CorpusError, match="no column 'uri'") as refusal:
            listed(folder, content)
        assert str(refusal.value).isprintable()
