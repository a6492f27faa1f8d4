"""Title, artist, album, year, ISRC, label and front cover from the tags in a file.

mutagen trusts what a file claims: a compressed frame may unpack to gigabytes. It therefore runs in a child process with
limits on memory and time. A file whose tags cannot be read is treated as having none.
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
from pipelines.ingest.cover_art import front_cover
from pipelines.ingest.decoding import IsolatedDecoder

log = logging.getLogger(__name__)

READER = "pipelines.ingest.file_tags:open_tags"
TIMEOUT_S = 10.0
MEMORY_BYTES = 512 << 20  # on top of what the child uses when it starts
TEXT_LIMIT = 500  # characters
YEARS = range(1860, 2101)  # plausible years; the oldest sound recordings are from 1860
INFO_BYTES = 1 << 20  # largest LIST INFO chunk that is read
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

# Tag names in lower case, in order of preference: ID3v2, Vorbis comments, MP4, APEv2, ASF, RIFF INFO.
# See https://picard-docs.musicbrainz.org/en/appendices/tag_mapping.html
MP4_FREE = "----:com.apple.itunes:"
NAMES = {
    "title": ("tit2", "title", "\xa9nam", "inam"),
    "artist": ("tpe1", "artist", "\xa9art", "author", "iart"),
    "album": ("talb", "album", "\xa9alb", "wm/albumtitle", "iprd"),
    "isrc": ("tsrc", "isrc", MP4_FREE + "isrc", "wm/isrc"),
    "label": ("tpub", "label", "organization", "publisher", MP4_FREE + "label", "wm/publisher", "txxx:label"),
}
# The year of the first release is preferred: it decides who can have sampled whom
FIRST_RELEASES = ("tdor", "tory", "originaldate", "originalyear", "txxx:originalyear", "wm/originalreleaseyear")
DATES = (*FIRST_RELEASES, "tdrc", "tyer", "tdrl", "date", "year", "\xa9day", "wm/year", "icrd")


@dataclass(frozen=True)
class Tags:
    """The tags of a file; None for a missing one."""

    title: str | None = None
    artist: str | None = None
    album: str | None = None
    year: int | None = None
    isrc: str | None = None
    label: str | None = None
    cover: bytes | None = None  # a small JPEG


class TagReader:
    """Reads tags in a child process, which is reused for all files."""

    def __init__(self) -> None:
        self._child = IsolatedDecoder(TIMEOUT_S, READER)

    def read(self, path: str) -> Tags:
        """The tags of a file; empty if they cannot be read for any reason."""
        try:
            with self._child.open(path) as (tags, blocks):
                assert isinstance(tags, Tags)
                for _ in blocks:  # takes the child's last message: a child that is still sending is not reused
                    pass
                return tags
        except DecodeError as error:
            log.info("cannot read the tags of %s: %s", path, error)
            return Tags()


def with_tags(file: Mapping[str, Any], tags: Tags) -> dict[str, Any]:
    """A file's row with the columns of Tags added. Values from the manifest take precedence over tags."""
    names = {field.name for field in fields(Tags)}
    known = {key: value for key, value in file.items() if not (key in names and value is None)}
    return {**file, **asdict(tags), **known}


@contextlib.contextmanager
def open_tags(path: str) -> Iterator[tuple[Tags, Iterator[Any]]]:
    """Called by the child in place of `open_native`: yields tags and no audio."""
    _limit_memory()
    yield read_tags(path), iter(())


def _limit_memory() -> None:
    with open("/proc/self/statm") as stream:
        used = int(stream.read().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = used + MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(used + MEMORY_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def read_tags(path: str) -> Tags:
    """The tags of a file. Never raises for a file's contents, but may use much memory; see `TagReader`."""
    import mutagen

    texts: dict[str, str] = {}
    cover = None
    try:
        with open(path, "rb") as stream:
            texts = riff_texts(stream)
        opened = mutagen.File(path)
        if opened is not None and opened.tags is not None:
            texts |= _texts(opened.tags)
            cover = front_cover(opened)  # last, so that a damaged picture costs no title
    except Exception as error:  # mutagen raises KeyError, struct.error and more for broken tags
        log.info("cannot read all tags of %s: %s", path, error)
    values: dict[str, Any] = {key: _first(texts, names) for key, names in NAMES.items()}
    return Tags(**values, year=_year(texts), cover=cover)


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
    """The texts in a RIFF file's LIST INFO chunk, by lower-case name; mutagen does not read them.

    Source: Microsoft, Multimedia Programming Interface and Data Specifications 1.0, chapter 2.
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
    """The text as one line of at most TEXT_LIMIT characters, without control characters."""
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
