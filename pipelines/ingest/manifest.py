"""Reads the rows of a manifest (.csv, .tsv, .jsonl, .parquet); accepts any separator, UTF-16, and dates as years."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from asid_core.plain_text import shown
from asid_core.signal.formats import AUDIO_SUFFIXES, suffix_of
from pipelines.store.location import Location, StorageError

COLUMNS = ("uri", "track_id", "title", "artist", "year", "isrc", "album", "label")
FURTHER = "\0further"  # key of a row for its other columns; the zero byte keeps it apart from column names
MAX_FURTHER, MAX_FURTHER_NAME, MAX_FURTHER_TEXT = 50, 100, 1000  # columns; characters in a name; in a value
MAX_FIELD = 10_000  # characters; a longer text means an unclosed quote or the contents of another file
MAX_ROW = 16 << 20
SEPARATORS = ",;\t|"
BYTE_ORDER_MARKS = {b"\xff\xfe\0\0": "utf-32", b"\0\0\xfe\xff": "utf-32", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
FIRST_YEAR, LAST_YEAR = 1000, 2999


class CorpusError(StorageError):
    """The corpus as a whole cannot be used. The message says what to pass instead."""


class BadRow(Exception):
    """A row that cannot be used, and why."""


Row = dict[str, Any]


def rows(manifest: Location) -> Iterator[Row | BadRow]:
    """The rows of a manifest: dicts with the names in COLUMNS, and all other columns as one dict under FURTHER.

    Raises CorpusError if the file cannot be read any further; the message names the line if it is known.
    """
    suffix = suffix_of(manifest.uri)
    with manifest.open() as stream:
        if suffix == ".parquet":
            yield from _parquet(manifest, stream)
        elif suffix == ".jsonl":
            yield from _json_lines(_text(stream))
        else:
            yield from _csv(manifest, _text(stream))


def _text(stream: BinaryIO) -> io.TextIOWrapper:
    """Decode as UTF-8, or as a byte order mark or zero bytes (UTF-16) suggest. Invalid UTF-8 becomes surrogates."""
    head = io.BytesIO(stream.read(4096))
    start = head.getvalue()
    encoding = next((name for mark, name in BYTE_ORDER_MARKS.items() if start.startswith(mark)), None)
    if encoding is None and b"\0" in start[:2]:
        encoding = "utf-16-be" if start[:1] == b"\0" else "utf-16-le"
    both = io.BufferedReader(_Joined(head, stream))
    errors = "replace" if encoding else "surrogateescape"
    return io.TextIOWrapper(both, encoding or "utf-8-sig", errors, newline="")


class _Joined(io.RawIOBase):
    """A stream that continues `head` with `rest`."""

    def __init__(self, head: BinaryIO, rest: BinaryIO) -> None:
        self._streams = [head, rest]

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = next((data for stream in self._streams if (data := stream.read(len(buffer)))), b"")
        buffer[: len(data)] = data
        return len(data)


def _csv(manifest: Location, lines: io.TextIOWrapper) -> Iterator[Row | BadRow]:
    header, before = _header(lines)
    separator = _separator(manifest, header)
    csv.field_size_limit(MAX_ROW)
    names: list[str] = []
    rest = _bounded(manifest, lines, before + 2)
    reader = csv.reader(itertools.chain([header], rest), delimiter=separator, strict=True)
    while True:
        line = before + reader.line_num + 1
        try:
            fields = next(reader, None)
        except csv.Error as error:
            problem = f"line {line} of {manifest} cannot be read: {error}"
            raise CorpusError(f'{problem}. Is a quote (") not closed, or not doubled inside a text?') from None
        if fields is None:
            return
        if not names:
            names = _names(fields)
        elif fields:
            _check_quotes(manifest, line, fields, names, separator)
            yield _row(fields, names)


def _header(lines: io.TextIOWrapper) -> tuple[str, int]:
    """The line with the names of the columns, and the number of lines before it: empty ones, and Excel's `sep=;`."""
    for before in itertools.count():
        line = lines.readline(MAX_ROW)
        if not line or line.strip(" \t\r\n\ufeff") and not line.lower().startswith("sep="):
            return line, before
    raise AssertionError


def _bounded(manifest: Location, lines: io.TextIOWrapper, first: int) -> Iterator[str]:
    for number in itertools.count(first):
        line = lines.readline(MAX_ROW)
        if len(line) >= MAX_ROW:
            raise CorpusError(f"line {number} of {manifest} is longer than {MAX_ROW >> 20} MB. Is this a CSV file?")
        if not line:
            return
        yield line


def _separator(manifest: Location, header: str) -> str:
    for separator in SEPARATORS:
        with contextlib.suppress(csv.Error):
            names = _names(next(csv.reader([header], delimiter=separator, strict=True), []))
            if "uri" in names:
                return separator
    found = shown(", ".join(_names(header[:200].split(","))).strip()) or "nothing"
    raise CorpusError(f"{manifest} has no column 'uri' in its first line (found: {found})")


def _names(fields: Iterable[str]) -> list[str]:
    return [name.strip().strip("\ufeff").lower() for name in fields]


def _check_quotes(manifest: Location, line: int, fields: list[str], names: list[str], separator: str) -> None:
    """Raise CorpusError if a quoted text contains lines that look like rows, as after an unclosed quote."""
    at = names.index("uri")
    for inner in (line for text in fields for line in text.splitlines()[1:]):
        parts = inner.split(separator)
        if len(parts) > at and suffix_of(parts[at].strip(' "')) in AUDIO_SUFFIXES:
            raise CorpusError(f'line {line} of {manifest} opens a quote (") that is not closed before the next row')


def _row(fields: list[str], names: list[str]) -> Row | BadRow:
    if any(fields[len(names) :]):
        return BadRow(
            f"the row has {len(fields)} fields, the first line {len(names)}; quote texts that contain a separator"
        )
    row: Row = {}
    for name, text in zip(names, fields, strict=False):
        row.setdefault(name, text)
    return _known_columns(row)


def _json_lines(lines: io.TextIOWrapper) -> Iterator[Row | BadRow]:
    while line := lines.readline(MAX_ROW):
        if len(line) >= MAX_ROW:
            raise CorpusError(f"a line is longer than {MAX_ROW >> 20} MB. Write one JSON object per line.")
        if line.strip():
            yield _parse_json(line)


def _parse_json(line: str) -> Row | BadRow:
    try:
        row = json.loads(line)
    except ValueError as error:
        return BadRow(f"the line is not JSON: {error}")
    except RecursionError:
        return BadRow("the JSON in this line is nested too deeply")
    if not isinstance(row, dict):
        return BadRow("the line is not a JSON object")
    return _known_columns(row)


def _known_columns(row: Row) -> Row:
    others: Row = {}
    for key, value in row.items():
        others.setdefault(key.strip().lower(), value)
    known = {name: others.pop(name) for name in COLUMNS if name in others}
    return known | {FURTHER: _further(others)}


def _further(row: Row) -> dict[str, str]:
    """Columns that asid does not use, as short one-line texts. They are copied to the exports."""
    texts: dict[str, str] = {}
    for key, value in row.items():
        if value is not None and not isinstance(value, list | dict | bytes) and len(texts) < MAX_FURTHER:
            name, text = (one_line(str(part).encode("utf-8", "replace").decode()) for part in (key, value))
            if name and text:
                texts[name[:MAX_FURTHER_NAME]] = text[:MAX_FURTHER_TEXT]
    return texts


def _parquet(manifest: Location, file: BinaryIO) -> Iterator[Row | BadRow]:
    try:
        source = pq.ParquetFile(file)
        names = source.schema_arrow.names
        simple = [f.name for f in source.schema_arrow if not pa.types.is_nested(f.type) and not _is_binary(f.type)]
        wanted = [name for name in names if name.strip().lower() in COLUMNS or name in simple[:MAX_FURTHER]]
        if "uri" not in map(str.lower, wanted):
            raise CorpusError(f"{manifest} has no column 'uri' (found: {', '.join(names) or 'nothing'})")
        for batch in source.iter_batches(columns=wanted):
            yield from map(_known_columns, _dates_as_text(batch).to_pylist())
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        if isinstance(error, CorpusError):
            raise
        raise CorpusError(f"{manifest} is damaged or not a Parquet file: {error}") from None


def _dates_as_text(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Dates and times as texts, because Python's have fewer years than Arrow's."""
    for index, field in enumerate(batch.schema):
        if pa.types.is_temporal(field.type):
            column, kind = batch.column(index), field.type
            plain = (
                pa.int64() if pa.types.is_duration(kind) else pa.timestamp(kind.unit) if hasattr(kind, "tz") else kind
            )
            batch = batch.set_column(index, field.name, column.cast(plain).cast(pa.string()))
    return batch


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def text_of(row: Row, column: str) -> str | None:
    """The text of a column; None if it has none. Raises BadRow if it is too long or not UTF-8."""
    value = row.get(column)
    if value is None or isinstance(value, list | dict | bool):
        return None
    text = value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)
    if len(text) > MAX_FIELD:
        raise BadRow(f"the {column} has {len(text):,} characters; the limit is {MAX_FIELD:,}")
    if any(unicodedata.category(c) == "Cs" for c in text):
        raise BadRow(f"the {column} is not UTF-8 (perhaps Latin-1). Save the manifest as UTF-8.")
    return text


def one_line(text: str | None) -> str | None:
    """The text with line breaks and control characters replaced by spaces; None if nothing is left."""
    spaced = "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in text or "")
    return " ".join(spaced.split()) or None


def year_of(value: Any) -> int | None:
    """The year in a number, a date or a text such as "c. 1970"; None if there is none."""
    text = str(value).strip()
    if re.fullmatch(r"-.*|[+-]?\d+\.\d*[1-9]\d*", text):  # negative, or not a whole number
        return None
    match = re.search(r"(?<!\d)(\d{4})(?:(?!\d)|(?=(?:0[1-9]|1[0-2])\d\d(?!\d)))", text)
    year = int(match[1]) if match else 0
    return year if FIRST_YEAR <= year <= LAST_YEAR else None


def local_path(uri: str) -> str:
    """The path of a `file:` URI (RFC 8089); other text is returned unchanged. Raises BadRow for a remote host."""
    if not uri.lower().startswith("file:/"):
        return uri
    path = uri[5:]
    if path.startswith("//"):
        host, slash, rest = path[2:].partition("/")
        if host.lower() not in ("", "localhost", "127.0.0.1"):
            raise BadRow(f"{uri} is on another machine ({host}). Use a local path or an s3:// URI.")
        path = slash + rest
    decoded = unquote(path, errors="surrogateescape")
    with contextlib.suppress(OSError, ValueError):
        # the text may be a plain path with a literal `%`
        return path if not Path(decoded).exists() and Path(path).exists() else decoded
    return decoded
