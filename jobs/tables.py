"""Formats tables for people (aligned columns) and for programs (csv, json, parquet)."""

from __future__ import annotations

import argparse
import csv
import io
import json
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from asid_core.plain_text import shown, spreadsheet_row

if TYPE_CHECKING:
    import pyarrow as pa

Cell = Callable[[Any], str]
FORMATS = ("csv", "json", "parquet")
MIN_WIDTH = 6  # terminal cells left of a shortened column


def clock_s(seconds: float | None) -> str:
    """Format seconds as `m:ss.s`, as music players do: 83.04 -> 1:23.0."""
    if seconds is None:
        return "-"
    tenths = round(seconds * 10)
    sign, tenths = ("-", -tenths) if tenths < 0 else ("", tenths)
    return f"{sign}{tenths // 600}:{tenths // 10 % 60:02d}.{tenths % 10}"


def counted(number: int, noun: str) -> str:
    """`number` and the noun, in the plural unless the number is 1: 3 -> `3 places`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def plain(value: Any) -> str:
    return "-" if value is None else str(value)


def number(digits: int, signed: bool = False) -> Cell:
    """A formatter for numbers with `digits` decimals."""
    # adding 0.0 turns a rounded -0.04 into 0, not -0
    return lambda value: "-" if value is None else f"{round(value, digits) + 0.0:{'+' if signed else ''}.{digits}f}"


def aligned(
    rows: Sequence[Mapping[str, Any]], columns: Mapping[str, tuple[str, Cell]], width: int | None = None
) -> str:
    """Rows under a header. Columns without letters are right-aligned. Invisible characters are escaped.

    `width`: the largest number of terminal cells in a line. Longer texts are shortened in the middle, those of the
    widest columns first.
    """
    titles = [title for title, _ in columns.values()]
    cells = [[shown(cell(row.get(key))) for key, (_, cell) in columns.items()] for row in rows]
    right = [all(not any(c.isalpha() for c in row[i]) for row in cells) and bool(cells) for i in range(len(titles))]
    widths = [max(num_cells(title), *(num_cells(row[i]) for row in cells), 0) for i, title in enumerate(titles)]
    if width is not None:
        widths = _narrowed(widths, titles, width)
        cells = [[shortened(text, widths[i]) for i, text in enumerate(row)] for row in cells]
    lines = []
    for row in [titles, *cells]:
        padding = [" " * (w - num_cells(t)) for t, w in zip(row, widths, strict=True)]
        fields = [pad + t if r else t + pad for t, pad, r in zip(row, padding, right, strict=True)]
        lines.append("  ".join(fields).rstrip())
    return "\n".join(lines)


def _narrowed(widths: Sequence[int], titles: Sequence[str], width: int) -> list[int]:
    """Column widths that fit `width` with two cells between columns; no column gets narrower than its title."""
    result, least = list(widths), [max(num_cells(title), MIN_WIDTH) for title in titles]
    for _ in range(sum(result) + 2 * (len(result) - 1) - width):
        room, widest = max((w - least[i] > 0, w) for i, w in enumerate(result))
        if not room:
            break
        result[max(i for i, w in enumerate(result) if w == widest and w > least[i])] -= 1
    return result


def num_cells(text: str) -> int:
    """Terminal cells that a text takes: two for wide characters, none for combining ones."""
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def shortened(text: str, width: int) -> str:
    """`text` in at most `width` cells. Longer texts lose their middle, since names often differ at their ends."""
    if num_cells(text) <= width:
        return text
    head, tail = 0, len(text)
    used = 1
    while head < tail:
        at_end = len(text) - tail < head
        step = num_cells(text[tail - 1] if at_end else text[head])
        if used + step > width:
            break
        used += step
        head, tail = (head, tail - 1) if at_end else (head + 1, tail)
    return f"{text[:head]}…{text[tail:]}"


def encode(table: pa.Table, format: str) -> bytes:
    """A table as csv (UTF-8, with header), json (an array of objects) or parquet.

    Raises ValueError for another format.
    """
    if format == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, table.column_names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(map(spreadsheet_row, table.to_pylist()))
        return text.getvalue().encode()
    if format == "json":
        return (json.dumps(table.to_pylist(), indent=1, ensure_ascii=False, default=str) + "\n").encode()
    if format == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        return bytes(sink.getvalue())
    raise ValueError(f"unknown format {format!r}; use one of {', '.join(FORMATS)}")


def format_of(path: str) -> str:
    """The format for a file name, by its extension. Raises ValueError for an unknown extension."""
    ending = PurePosixPath(path).suffix.lower().removeprefix(".")
    if ending not in FORMATS:
        raise ValueError(f"{path} must end in .csv, .json or .parquet")
    return ending


def export_path(path: str) -> str:
    """argparse type: a file to export to, whose extension is checked before any work starts."""
    try:
        format_of(path)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return path
