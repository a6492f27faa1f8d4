"""Formatting of tables for people and for programs."""

import io
import json

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from jobs import tables

ROWS = pa.table({"name": ['a,"b"\nc', "ünï"], "score": [0.5, None], "n": [1, 2]})


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0:00.0"), (83.04, "1:23.0"), (59.96, "1:00.0"), (3600.0, "60:00.0"), (-1.5, "-0:01.5"), (None, "-")],
)
def test_times(seconds: float | None, text: str) -> None:
    assert tables.clock_s(seconds) == text


def test_columns_are_aligned_and_numbers_right_aligned() -> None:
    columns = {"name": ("track", tables.plain), "n": ("n", tables.number(1, signed=True))}
    text = tables.aligned([{"name": "long name", "n": -3.04}, {"name": "x", "n": 12}], columns)
    assert text.splitlines() == ["track          n", "long name   -3.0", "x          +12.0"]


def test_escape_codes_in_a_name_do_not_reach_the_terminal() -> None:
    text = tables.aligned([{"name": "a\x1b[2Jb\nc"}], {"name": ("name", tables.plain)})
    assert "\x1b" not in text and len(text.splitlines()) == 2


def test_no_rows_is_a_header() -> None:
    assert tables.aligned([], {"name": ("name", tables.plain)}) == "name"


def test_formats_read_back() -> None:
    assert (
        pyarrow.csv.read_csv(
            io.BytesIO(tables.encode(ROWS, "csv")),
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        ).to_pylist()
        == ROWS.to_pylist()
    )
    assert json.loads(tables.encode(ROWS, "json")) == ROWS.to_pylist()
    assert pq.read_table(pa.BufferReader(tables.encode(ROWS, "parquet"))).equals(ROWS)


@pytest.mark.parametrize(
    ("path", "format"), [("x.CSV", "csv"), ("s3://b/x.json", "json"), ("a.b/x.parquet", "parquet")]
)
def test_the_extension_decides_the_format(path: str, format: str) -> None:
    assert tables.format_of(path) == format


@pytest.mark.parametrize("path", ["x", "x.txt", "a.csv/x"])
def test_the_error_for_an_unknown_extension_lists_the_known_ones(path: str) -> None:
    with pytest.raises(ValueError, match=r"\.csv, \.json or \.parquet"):
        tables.format_of(path)
