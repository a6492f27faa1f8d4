"""Title, artist, album, year, ISRC and label from the tags in a file.

mutagen parses tags in Python, whatever the file claims: a compressed frame may unpack to gigabytes. So it runs in a
child process of its own, with little memory and little time, and a file whose tags cannot be read simply has none.
"""

from __future__ import annotations

import contextlib
import logging
import re
import resource
import struct
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, BinaryIO

from asid_core.signal.decode import DecodeError
from pipelines.ingest.decoding import IsolatedDecoder

log = logging.getLogger(__name__)

READER = "pipelines.ingest.file_tags:open_tags"
TIMEOUT_S = 10.0
MEMORY_BYTES = 512 << 20  # more than the child has when it starts
TEXT_LIMIT = 500  # characters
YEARS = range(1860, 2101)  # the oldest recordings of sound; other numbers are no years
INFO_BYTES = 1 << 20  # of a RIFF file's list of texts
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

# Names of tags in lower case, the preferred one first: ID3v2, Vorbis comments, MP4, APEv2, ASF, RIFF INFO.
# https://picard-docs.musicbrainz.org/en/appendices/tag_mapping.html lists what programs write
MP4_FREE = "----:com.apple.itunes:"
NAMES = {
    "title": ("tit2", "title", "\xa9nam", "inam"),
    "artist": ("tpe1", "artist", "\xa9art", "author", "iart"),
    "album": ("talb", "album", "\xa9alb", "wm/albumtitle", "iprd"),
    "isrc": ("tsrc", "isrc", MP4_FREE + "isrc", "wm/isrc"),
    "label": ("tpub", "label", "organization", "publisher", MP4_FREE + "label", "wm/publisher", "txxx:label"),
}
# The first release comes first: that is the year that tells who could sample whom
FIRST_RELEASES = ("tdor", "tory", "originaldate", "originalyear", "txxx:originalyear", "wm/originalreleaseyear")
DATES = (*FIRST_RELEASES, "tdrc", "tyer", "tdrl", "date", "year", "\xa9day", "wm/year", "icrd")


@dataclass(frozen=True)
class Tags:
    """What a file says of itself; None where it says nothing."""

    title: str | None = None
    artist: str | None = None
    album: str | None = None
    year: int | None = None
    isrc: str | None = None
    label: str | None = None


class TagReader:
    """Reads tags in a child process, which is kept from file to file."""

    def __init__(self) -> None:
        self._child = IsolatedDecoder(TIMEOUT_S, READER)

    def read(self, path: str) -> Tags:
        """The tags of a file; none where they cannot be read, for whatever reason."""
        try:
            with self._child.open(path) as (tags, _):
                assert isinstance(tags, Tags)
                return tags
        except DecodeError as error:
            log.info("no tags of %s: %s", path, error)
            return Tags()


def with_tags(file: Mapping[str, Any], tags: Tags) -> dict[str, Any]:
    """A row with the columns of Tags; what the manifest says of the file overrides its tags."""
    names = {field.name for field in fields(Tags)}
    known = {key: value for key, value in file.items() if not (key in names and value is None)}
    return {**file, **asdict(tags), **known}


@contextlib.contextmanager
def open_tags(path: str) -> Iterator[tuple[Tags, Iterator[Any]]]:
    """What the child calls in place of `open_native`: tags, and no audio."""
    _limit_memory()
    yield read_tags(path), iter(())


def _limit_memory() -> None:
    with open("/proc/self/statm") as stream:
        used = int(stream.read().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = used + MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(used + MEMORY_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def read_tags(path: str) -> Tags:
    """Tags of a file that is trusted, or in a process that may die. Never raises for what is in the file."""
    import mutagen

    texts: dict[str, str] = {}
    try:
        with open(path, "rb") as stream:
            texts = riff_texts(stream)
        opened = mutagen.File(path)
        if opened is not None and opened.tags is not None:
            texts |= _texts(opened.tags)
    except Exception as error:  # mutagen raises KeyError, struct.error and more for broken tags
        log.info("tags of %s: %s", path, error)
    values: dict[str, Any] = {key: _first(texts, names) for key, names in NAMES.items()}
    return Tags(**values, year=_year(texts))


def _texts(tags: Any) -> dict[str, str]:
    """Tag name in lower case -> its first value."""
    texts: dict[str, str] = {}
    for name, value in tags.items() if hasattr(tags, "items") else tags:
        value = getattr(value, "text", value)  # an ID3 frame
        while isinstance(value, list | tuple):
            value = value[0] if value else ""
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        texts.setdefault(str(name).lower(), _clean(str(value)))
    return texts


def riff_texts(stream: BinaryIO) -> dict[str, str]:
    """The texts of a RIFF file's LIST INFO chunk, by their names in lower case; mutagen does not read them.

    Microsoft, Multimedia Programming Interface and Data Specifications 1.0, chapter 2.
    """
    if stream.read(12)[:4] not in (b"RIFF", b"RF64"):
        return {}
    while len(head := stream.read(8)) == 8:
        name, size = struct.unpack("<4sI", head)
        if name == b"LIST" and 4 <= size <= INFO_BYTES:
            body = stream.read(size + size % 2)
            if body[:4] == b"INFO":
                return _info(body[4:])
        else:
            stream.seek(size + size % 2, 1)
    return {}


def _info(body: bytes) -> dict[str, str]:
    texts: dict[str, str] = {}
    while len(body) >= 8:
        name, size = struct.unpack("<4sI", body[:8])
        raw = body[8 : 8 + size].split(b"\0")[0]
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            text = raw.decode("cp1252", "replace")
        texts[name.decode("latin-1").lower()] = _clean(text)
        body = body[8 + size + size % 2 :]
    return texts


def _clean(text: str) -> str:
    """One line of at most TEXT_LIMIT characters that every table and file can hold."""
    return " ".join(CONTROL.sub(" ", text[: 4 * TEXT_LIMIT]).split())[:TEXT_LIMIT]


def _first(texts: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((texts[name] for name in names if texts.get(name)), None)


def _year(texts: Mapping[str, str]) -> int | None:
    """The first plausible year among the dates, such as `1971` or `1971-03-12`."""
    for name in DATES:
        match = re.match(r"\d{4}(?!\d)", texts.get(name, ""))
        if match and int(match[0]) in YEARS:
            return int(match[0])
    return None
