"""What is in a corpus: a folder, an `s3://` prefix, or a manifest (.csv, .jsonl, .parquet) naming files anywhere."""

from __future__ import annotations

import csv
import io
import itertools
import json
import posixpath
import unicodedata
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from asid_core.signal.formats import AUDIO_SUFFIXES
from pipelines.store.location import Entry, Location, StorageError, redacted

MANIFEST_EXTENSIONS = (".csv", ".jsonl", ".parquet")
STAT_THREADS = 16  # sizes of a manifest's files: on S3 one request each


class CorpusError(StorageError):
    """The corpus as a whole cannot be used; the message says what to give instead."""


@dataclass(frozen=True)
class CorpusFile:
    """A file to be made a track. `size_bytes` and `version` tell a change without reading it."""

    track_id: str
    uri: str
    size_bytes: int
    version: str
    title: str | None = None
    artist: str | None = None
    year: int | None = None
    isrc: str | None = None


@dataclass(frozen=True)
class Refusal:
    """A file that cannot be used, and why. Without a `version` it is tried again by the next run."""

    track_id: str
    uri: str
    error_type: str
    error: str
    size_bytes: int | None = None
    version: str | None = None


class Corpus:
    """A listing, read as it is iterated; `ignored` counts the files without an audio extension met so far.

    Raises CorpusError where there is no such folder or manifest.
    """

    def __init__(self, uri: str) -> None:
        self.location = Location(uri)
        self.ignored = 0
        name = self.location.name.lower()
        self._manifest = name.endswith(MANIFEST_EXTENSIONS) and not self.location.is_folder()
        if self._manifest and not self.location.exists():
            raise CorpusError(f"no manifest {self.location}")
        if not self._manifest and not self.location.is_folder():
            raise CorpusError(
                f"no corpus at {self.location}: give a folder, an s3:// prefix with recordings in it, "
                "or a manifest (.csv, .jsonl, .parquet)"
            )

    def __iter__(self) -> Iterator[CorpusFile | Refusal]:
        self.ignored = 0
        return self._from_manifest() if self._manifest else self._from_folder()

    def _from_folder(self) -> Iterator[CorpusFile | Refusal]:
        for entry in self.location.list():
            # "._x.wav" is what macOS writes beside x.wav on other file systems: attributes, not audio
            sounds = suffix_of(entry.name) in AUDIO_SUFFIXES and not posixpath.basename(entry.name).startswith("._")
            if not sounds and entry.kind != "unreadable":
                self.ignored += entry.kind == "file"
                continue
            uri = self.location.join(entry.name).uri
            yield _refused_entry(entry, uri) or _file(entry.name, uri, entry, {})

    def _from_manifest(self) -> Iterator[CorpusFile | Refusal]:
        seen: set[str] = set()
        rows = iter(enumerate(self._rows(), start=1))
        with ThreadPoolExecutor(STAT_THREADS) as threads:
            while some := list(itertools.islice(rows, 16 * STAT_THREADS)):
                for item in threads.map(lambda numbered: self._resolve(*numbered), some):
                    if item.track_id in seen:
                        name = f"{item.track_id} (again)"
                        yield Refusal(
                            name, item.uri, "duplicate", f"track_id {item.track_id!r} was used before: the first wins"
                        )
                        continue
                    seen.add(item.track_id)
                    yield item

    def _rows(self) -> Iterator[dict[str, Any] | str]:
        """Rows of the manifest; a str is what is wrong with one."""
        filesystem, path = self.location.arrow()
        if path.lower().endswith(".parquet"):
            source = pq.ParquetFile(filesystem.open_input_file(path))
            self._need_uri(source.schema_arrow.names)
            for batch in source.iter_batches():
                yield from batch.to_pylist()
            return
        lines = io.TextIOWrapper(filesystem.open_input_stream(path), "utf-8-sig", "surrogateescape", newline="")
        if path.lower().endswith(".csv"):
            reader = csv.DictReader(lines)
            self._need_uri(reader.fieldnames or ())
            yield from reader
            return
        for line in lines:
            if line.strip():
                yield _parse_json(line)

    def _need_uri(self, columns: Iterable[str]) -> None:
        if "uri" not in columns:
            raise CorpusError(f"{self.location} has no column 'uri' (it has: {', '.join(columns) or 'nothing'})")

    def _resolve(self, number: int, row: dict[str, Any] | str) -> CorpusFile | Refusal:
        row_id = f"{self.location.name} row {number}"
        if isinstance(row, str):
            return Refusal(row_id, self.location.uri, "manifest", row)
        given = str(row.get("uri") or "").strip()
        if not given:
            return Refusal(row_id, self.location.uri, "manifest", "the row has no uri")
        shown = redacted(given)
        track_id = str(row.get("track_id") or "").strip() or shown.removeprefix("s3://").lstrip("/")
        try:
            absolute = given.startswith("/") or "://" in given
            where = Location(given) if absolute else Location(self.location.parent.join(given).uri)
            return _file(track_id, where.uri, where.stat(), row)
        except FileNotFoundError:
            problem = ("vanished", "the manifest names it, but it is not there")
        except IsADirectoryError:
            problem = ("folder", "this is a folder, not a file")
        except (OSError, ValueError) as error:
            problem = ("unreadable", f"the file cannot be read: {getattr(error, 'strerror', None) or error}")
        return Refusal(_printable(track_id), _printable(shown), *problem)


def suffix_of(name: str) -> str:
    """The ending of a file's name, in lower case, with its dot; empty where there is none."""
    return posixpath.splitext(name)[1].lower()


def _parse_json(line: str) -> dict[str, Any] | str:
    try:
        row = json.loads(line)
    except ValueError as error:
        return f"the line is not JSON: {error}"
    return row if isinstance(row, dict) else "the line is not a JSON object"


def _refused_entry(entry: Entry, uri: str) -> Refusal | None:
    if entry.kind == "file":
        return None
    if entry.kind == "folder":
        return Refusal(_printable(entry.name), _printable(uri), "folder", "this is a folder, not a file")
    problem = f"cannot be read: {entry.problem}"
    return Refusal(_printable(entry.name), _printable(uri), "unreadable", problem)


def _file(track_id: str, uri: str, entry: Entry, row: dict[str, Any]) -> CorpusFile | Refusal:
    """A file whose name and manifest row can go into the tables, or why they cannot."""
    assert entry.size_bytes is not None and entry.version is not None
    problem = _bad_name(track_id)
    texts = {key: str(row[key]).strip() for key in ("title", "artist", "isrc") if row.get(key) not in (None, "")}
    year: int | None = None
    try:
        if row.get("year") not in (None, ""):
            year = int(float(row["year"]))
    except (TypeError, ValueError, OverflowError):
        problem = problem or f"year {row['year']!r} is not a number"
    if problem is None and any(_printable(text) != text for text in (uri, *texts.values())):
        problem = "its name, title, artist or isrc has characters that cannot be written (control or broken UTF-8)"
    if problem:
        return Refusal(_printable(track_id), _printable(uri), "name", problem, entry.size_bytes, entry.version)
    return CorpusFile(track_id, uri, entry.size_bytes, entry.version, year=year, **texts)


def _bad_name(track_id: str) -> str | None:
    """Why this cannot be a track_id: it becomes a name in reports and exports, so it must stay below its folder."""
    if _printable(track_id) != track_id:
        return "the name has control characters or is not valid UTF-8; rename it"
    if track_id.startswith("/") or ".." in track_id.replace("\\", "/").split("/"):
        return "a track_id must not start with / or have .. in it; give another one in the manifest"
    return None


def _printable(text: str) -> str:
    """The text with control characters and broken UTF-8 written as escapes."""
    text = text.encode("utf-8", "backslashreplace").decode()
    return "".join(f"\\x{ord(c):02x}" if unicodedata.category(c) == "Cc" else c for c in text)
