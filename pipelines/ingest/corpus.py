"""Lists a corpus: a folder, an `s3://` prefix, or a manifest (.csv, .tsv, .jsonl, .parquet) that names files."""

from __future__ import annotations

import itertools
import json
import logging
import posixpath
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from asid_core.plain_text import control_shown
from asid_core.signal.formats import AUDIO_SUFFIXES, suffix_of
from pipelines.ingest.manifest import FURTHER, BadRow, CorpusError, Row, local_path, one_line, rows, text_of, year_of
from pipelines.store.listing import Entry
from pipelines.store.location import Location, redacted

log = logging.getLogger(__name__)

MANIFEST_EXTENSIONS = (".csv", ".tsv", ".jsonl", ".parquet")
# files written by `asid report`, which are not recordings of the corpus
REPORT_FILES = re.compile(r"(^|.*/)files/[0-9T.]+Z-report-[0-9a-f]+/")
OF_REPORTS, OUTSIDE = "in reports of asid", "links out of the corpus"
SHOWN_YEARS = 5  # warnings about invalid years
TEXTS = ("title", "artist", "isrc", "album", "label")
NOTHING: Mapping[str, Any] = MappingProxyType({})
STAT_THREADS = 16  # for the sizes of a manifest's files; on S3, each takes a request


@dataclass(frozen=True)
class CorpusFile:
    """A file that should become a track. `size_bytes` and `version` reveal a change without reading the file."""

    track_id: str
    uri: str
    size_bytes: int
    version: str
    title: str | None = None
    artist: str | None = None
    year: int | None = None
    isrc: str | None = None
    album: str | None = None
    label: str | None = None
    manifest: str | None = None  # JSON object with everything that the manifest says about the file


@dataclass(frozen=True)
class Refusal:
    """A file that cannot be used, and why. The next run tries it again if `version` is None."""

    track_id: str
    uri: str
    error_type: str
    error: str
    size_bytes: int | None = None
    version: str | None = None


class Corpus:
    """The files of a corpus, listed lazily. Attributes that are complete after an iteration:

    skipped: number of files by extension that are not recordings ("" for none), and other skipped items by a label.
    empty_years: number of manifest rows whose year was invalid and left empty.
    Raises CorpusError if there is no such folder or manifest.
    """

    def __init__(self, uri: str, follow_links: bool = False) -> None:
        self.location = Location(uri)
        self.skipped: Counter[str] = Counter()
        self.empty_years = 0
        self._follow_links = follow_links
        name = self.location.name.lower()
        self._manifest = name.endswith(MANIFEST_EXTENSIONS) and not self.location.is_folder()
        if self._manifest and not self.location.exists():
            raise CorpusError(f"no manifest {self.location}")
        if not self._manifest and not self.location.is_folder():
            raise CorpusError(
                f"no corpus at {self.location}. Pass a folder, an s3:// prefix with recordings in it, "
                f"or a manifest ({', '.join(MANIFEST_EXTENSIONS)})."
            )

    def __iter__(self) -> Iterator[CorpusFile | Refusal]:
        self.skipped.clear()
        self.empty_years = 0
        return self._from_manifest() if self._manifest else self._from_folder()

    def _from_folder(self) -> Iterator[CorpusFile | Refusal]:
        for entry in self.location.list(self._follow_links):
            suffix = suffix_of(entry.name)
            # on other file systems, macOS writes "._x.wav" beside x.wav; it holds attributes, not audio
            is_audio = suffix in AUDIO_SUFFIXES and not posixpath.basename(entry.name).startswith("._")
            if entry.kind == "outside":
                self.skipped[OUTSIDE] += 1
            elif entry.kind == "file" and REPORT_FILES.match(entry.name):
                self.skipped[OF_REPORTS] += 1
            elif not is_audio and entry.kind in ("file", "special"):
                self.skipped[suffix] += 1
            elif is_audio or entry.kind == "unreadable":
                uri = self.location.join(entry.name).uri
                yield _refused_entry(entry, uri) or _file(entry.name, uri, entry)

    def _from_manifest(self) -> Iterator[CorpusFile | Refusal]:
        seen: set[str] = set()
        numbered = iter(enumerate(rows(self.location), start=1))
        with ThreadPoolExecutor(STAT_THREADS) as threads:
            while some := list(itertools.islice(numbered, 16 * STAT_THREADS)):
                for _, row in some:
                    self._count_year(row)
                for (number, _), item in zip(some, threads.map(lambda row: self._resolve(*row), some), strict=True):
                    if item.track_id in seen:
                        name = f"{item.track_id} (again, row {number})"
                        problem = f"track_id {item.track_id!r} is used by an earlier row, which is kept"
                        yield Refusal(name, item.uri, "duplicate", problem)
                        continue
                    seen.add(item.track_id)
                    yield item

    def _resolve(self, number: int, row: Row | BadRow) -> CorpusFile | Refusal:
        """The file that a row names, or why it cannot be used. An invalid title or year is not a reason."""
        track_id, shown = f"{self.location.name} row {number}", self.location.uri
        try:
            if isinstance(row, BadRow):
                raise row
            given = (text_of(row, "uri") or "").strip()
            if not given:
                raise BadRow("the row has no uri")
            shown = redacted(given)
            track_id = (text_of(row, "track_id") or "").strip() or shown.removeprefix("s3://").lstrip("/")
            where = self._place(local_path(given))
            return _file(track_id, where.uri, where.stat(), self._details(row))
        except BadRow as error:
            problem = ("manifest", str(error))
        except FileNotFoundError:
            problem = ("vanished", "the manifest names this file, but it does not exist")
        except IsADirectoryError:
            problem = ("folder", "this is a folder, not a file")
        except (OSError, ValueError) as error:
            problem = ("unreadable", f"the file cannot be read: {getattr(error, 'strerror', None) or error}")
        return Refusal(control_shown(track_id), control_shown(shown), *problem)

    def _count_year(self, row: Row | BadRow) -> None:
        given = None if isinstance(row, BadRow) else row.get("year")
        if given not in (None, "") and year_of(given) is None:
            self.empty_years += 1
            log.log(logging.WARNING if self.empty_years <= SHOWN_YEARS else logging.DEBUG, "invalid year %.50r", given)

    def _place(self, given: str) -> Location:
        absolute = given.startswith("/") or "://" in given
        return Location(given) if absolute else Location(self.location.parent.join(given).uri)

    @staticmethod
    def _details(row: Row) -> dict[str, Any]:
        """The row's optional fields of CorpusFile. Raises BadRow for text that is not UTF-8 or too long."""
        texts: dict[str, Any] = {column: one_line(text_of(row, column)) for column in TEXTS}
        details = texts | {"year": year_of(row.get("year"))}
        given = {key: value for key, value in (details | row.get(FURTHER, {})).items() if value is not None}
        return details | {"manifest": json.dumps(given, ensure_ascii=False) if given else None}


def _refused_entry(entry: Entry, uri: str) -> Refusal | None:
    if entry.kind == "file":
        return None
    if entry.kind in ("folder", "special"):
        what = "folder" if entry.kind == "folder" else "pipe, socket or device"
        kind = "folder" if entry.kind == "folder" else "not_a_file"
        return Refusal(control_shown(entry.name), control_shown(uri), kind, f"this is a {what}, not a file")
    problem = f"cannot be read: {entry.problem}"
    return Refusal(control_shown(entry.name), control_shown(uri), "unreadable", problem)


def _file(track_id: str, uri: str, entry: Entry, details: Mapping[str, Any] = NOTHING) -> CorpusFile | Refusal:
    """The file, or a refusal if its name cannot be stored in the tables."""
    assert entry.size_bytes is not None and entry.version is not None
    problem = _bad_name(track_id)
    if problem is None and control_shown(uri) != uri:
        problem = "the file name has control characters or is not valid UTF-8; rename the file"
    if problem:
        return Refusal(control_shown(track_id), control_shown(uri), "name", problem, entry.size_bytes, entry.version)
    return CorpusFile(track_id, uri, entry.size_bytes, entry.version, **details)


def _bad_name(track_id: str) -> str | None:
    """Why a name cannot be a track_id, or None. Exports use it as a path, so it must not lead out of their folder."""
    if control_shown(track_id) != track_id:
        return "the file name has control characters or is not valid UTF-8; rename the file"
    if track_id.startswith("/") or ".." in track_id.replace("\\", "/").split("/"):
        return "a track_id must not start with / or contain ..; set another one in the manifest"
    return None
