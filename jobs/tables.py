"""A table for people (aligned columns) or for programs (csv, json, parquet). One way to write each."""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

Cell = Callable[[Any], str]
FORMATS = ("csv", "json", "parquet")


def clock_s(seconds: float | None) -> str:
    """`m:ss.s`, as players show it: 83.04 -> 1:23.0."""
    if seconds is None:
        return "-"
    tenths = round(seconds * 10)
    sign, tenths = ("-", -tenths) if tenths < 0 else ("", tenths)
    return f"{sign}{tenths // 600}:{tenths // 10 % 60:02d}.{tenths % 10}"


def plain(value: Any) -> str:
    return "-" if value is None else str(value)


def number(digits: int, signed: bool = False) -> Cell:
    """A formatter of numbers with `digits` decimals."""
    # a rounded -0.04 is 0, not -0
    return lambda value: "-" if value is None else f"{round(value, digits) + 0.0:{'+' if signed else ''}.{digits}f}"


DETECTION_COLUMNS: dict[str, tuple[str, Cell]] = {
    "score": ("score", number(2)),
    "query_id": ("query", plain),
    "query_start_s": ("from", clock_s),
    "query_end_s": ("to", clock_s),
    "reference_id": ("samples", plain),
    "reference_start_s": ("from", clock_s),
    "reference_end_s": ("to", clock_s),
    "tempo_ratio": ("tempo", number(2)),
    "pitch_semitones": ("pitch", number(1, signed=True)),
    "kind": ("kind", plain),
}


def aligned(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, tuple[str, Cell]]) -> str:
    """Rows under a header; columns that hold no letters are set right. Control characters become `?`."""
    titles = [title for title, _ in columns.values()]
    cells = [[_printable(cell(row.get(key))) for key, (_, cell) in columns.items()] for row in rows]
    widths = [max(len(title), *(len(row[i]) for row in cells), 0) for i, title in enumerate(titles)]
    right = [all(not any(c.isalpha() for c in row[i]) for row in cells) and bool(cells) for i in range(len(titles))]
    lines = []
    for row in [titles, *cells]:
        fields = [t.rjust(w) if r else t.ljust(w) for t, w, r in zip(row, widths, right, strict=True)]
        lines.append("  ".join(fields).rstrip())
    return "\n".join(lines)


def _printable(text: str) -> str:
    """A file name may hold a newline or an escape that a terminal would obey."""
    return "".join(c if c.isprintable() else "?" for c in text)


def encode(table: pa.Table, format: str) -> bytes:
    """A table as csv (UTF-8, header), json (an array of objects) or parquet."""
    if format == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, table.column_names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(table.to_pylist())
        return text.getvalue().encode()
    if format == "json":
        return (json.dumps(table.to_pylist(), indent=1, ensure_ascii=False, default=str) + "\n").encode()
    if format == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        return bytes(sink.getvalue())
    raise ValueError(f"no format {format!r}; there are {', '.join(FORMATS)}")


def format_of(path: str) -> str:
    """The format a file's ending asks for. Raises ValueError for another ending."""
    ending = PurePosixPath(path).suffix.lower().removeprefix(".")
    if ending not in FORMATS:
        raise ValueError(f"{path} must end in .csv, .json or .parquet")
    return ending


def export_path(path: str) -> str:
    """A file to export to, for argparse: the ending is checked before any work starts."""
    try:
        format_of(path)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return path
