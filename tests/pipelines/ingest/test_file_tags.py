"""Tags of every container, written by mutagen, and tags of hostile files."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mutagen
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutagen import id3

from pipelines.ingest import file_tags
from pipelines.ingest.decoding import IsolatedDecoder
from pipelines.ingest.file_tags import TagReader, Tags, read_tags, with_tags

WANTED = Tags("A title – ü", "An artist", "An album", 1971, "GBAYE7100123", "A label")
ID3 = [
    id3.TIT2(3, ["A title – ü"]), id3.TPE1(3, ["An artist"]), id3.TALB(3, ["An album"]), id3.TDOR(3, ["1971-03-12"]),
    id3.TDRC(3, ["2009"]), id3.TSRC(3, ["GBAYE7100123"]), id3.TPUB(3, ["A label"]),
]  # fmt: skip
VORBIS = {
    "title": "A title – ü", "artist": "An artist", "album": "An album", "originaldate": "1971", "date": "2009",
    "isrc": "GBAYE7100123", "label": "A label",
}  # fmt: skip
MP4 = {
    "\xa9nam": "A title – ü", "\xa9ART": "An artist", "\xa9alb": "An album", "\xa9day": "1971-01-01T00:00:00Z",
    "----:com.apple.iTunes:ISRC": b"GBAYE7100123", "----:com.apple.iTunes:LABEL": b"A label",
}  # fmt: skip
ASF = {
    "Title": "A title – ü", "Author": "An artist", "WM/AlbumTitle": "An album", "WM/Year": "1971",
    "WM/ISRC": "GBAYE7100123", "WM/Publisher": "A label",
}  # fmt: skip


def tag(path: Path) -> None:
    """Write the tags in the container's own format."""
    opened: Any = mutagen.File(path)
    if path.suffix in (".mp3", ".wav", ".aiff"):
        if opened.tags is None:
            opened.add_tags()
        for frame in ID3:
            opened.tags.add(frame)
    else:
        by_suffix: dict[str, dict[str, Any]] = {".m4a": MP4, ".wma": ASF}
        for key, value in by_suffix.get(path.suffix, VORBIS).items():
            opened[key] = [value]
    opened.save()


def test_one_child_reads_all_files(audio: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    starts, start = [], IsolatedDecoder._start

    def counted(decoder: IsolatedDecoder) -> Any:
        starts.append(decoder)
        return start(decoder)

    monkeypatch.setattr(IsolatedDecoder, "_start", counted)
    paths = [audio(f"{number}.wav", 0.5) for number in range(3)]
    tag(paths[2])
    reader = TagReader()
    assert [reader.read(str(path)) for path in paths] == [Tags(), Tags(), WANTED]
    assert len(starts) == 1


@pytest.mark.parametrize("name", ["a.mp3", "a.flac", "a.ogg", "a.opus", "a.m4a", "a.wma", "a.wav", "a.aiff"])
def test_every_container(audio: Callable[..., Path], name: str) -> None:
    rate = 48_000 if name == "a.opus" else 44_100
    path = audio(name, 1.0, rate_hz=rate)
    assert read_tags(str(path)) == Tags()
    tag(path)
    assert read_tags(str(path)) == WANTED


def riff(*texts: tuple[bytes, bytes]) -> bytes:
    """A LIST INFO chunk."""
    body = b"INFO" + b"".join(struct.pack("<4sI", n, len(t)) + t + b"\0" * (len(t) % 2) for n, t in texts)
    return struct.pack("<4sI", b"LIST", len(body)) + body


def test_riff_info_in_either_encoding(audio: Callable[..., Path]) -> None:
    path = audio("a.wav", 1.0)
    with path.open("ab") as stream:
        stream.write(riff((b"INAM", "Lü".encode("cp1252") + b"\0"), (b"IART", "Ärt".encode()), (b"ICRD", b"1984-01")))
    assert read_tags(str(path)) == Tags("Lü", "Ärt", year=1984)


@pytest.mark.parametrize(
    ("written", "year"),
    [
        ("1971", 1971),
        ("1971-05", 1971),
        ("19715", None),
        ("0000", None),
        ("3000", None),
        ("71", None),
        ("around 1971", None),
    ],
)
def test_only_years_are_years(audio: Callable[..., Path], written: str, year: int | None) -> None:
    path = audio("a.flac", 1.0)
    opened: Any = mutagen.File(path)
    opened["date"] = [written]
    opened.save()
    assert read_tags(str(path)).year == year


def test_texts_are_one_clean_short_line(audio: Callable[..., Path]) -> None:
    path = audio("a.flac", 1.0)
    opened: Any = mutagen.File(path)
    opened["title"] = ["a\tb\nc\x1b[2J" + "x" * 10_000]
    opened["artist"] = ["  "]
    opened.save()
    found = read_tags(str(path))
    assert found.title and found.title.startswith("a b c [2Jxxx") and len(found.title) == file_tags.TEXT_LIMIT
    assert found.artist is None


def test_a_manifest_overrides_tags() -> None:
    row = {"track_id": "x", "title": "From the manifest", "artist": None, "year": None}
    merged = with_tags(row, Tags("From the file", "Artist", year=1999))
    assert merged == {
        "track_id": "x", "title": "From the manifest", "artist": "Artist", "album": None, "year": 1999, "isrc": None,
        "label": None, "cover": None,
    }  # fmt: skip


def bomb() -> bytes:
    """An ID3v2.3 tag with a compressed title that unpacks to 2 GB."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(b"\x03" + b"x" * (1 << 20)) for _ in range(2048)) + packer.flush()
    frame = struct.pack(">I", 2 << 30) + packed
    frames = b"TIT2" + struct.pack(">I", len(frame)) + b"\0\x80" + frame
    size = len(frames)
    return b"ID3\x03\0\0" + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0)) + frames


def test_a_tag_that_unpacks_to_gigabytes_is_no_tag(audio: Callable[..., Path], tmp_path: Path) -> None:
    good = audio("good.mp3", 1.0, rate_hz=44_100)
    bad = tmp_path / "bad.mp3"
    bad.write_bytes(bomb() + good.read_bytes())
    tag(good)
    reader = TagReader()
    assert reader.read(str(bad)) == Tags()
    assert reader.read(str(good)) == WANTED  # the next file is not harmed


@pytest.mark.parametrize("name", ["crash.wav", "hang.wav", "raise.wav"])
def test_a_reader_that_dies_or_hangs_means_no_tags(name: str) -> None:
    tags = TagReader()
    tags._child = IsolatedDecoder(1.0, "tests.pipelines.stub_decoders:tags_by_name")
    assert tags.read(name) == Tags()
    assert tags.read("good.wav") == Tags("A title")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    head=st.sampled_from(
        [b"", b"ID3\x03\0\0", b"ID3\x04\0\x40", b"RIFF\x10\0\0\0WAVE", b"fLaC", b"OggS", b"APETAGEX", b"0&\xb2u"]
    ),
    body=st.binary(max_size=300),
    ending=st.sampled_from([".mp3", ".wav", ".flac", ".ogg", ".m4a", ".wma", ".aiff"]),
)
def test_no_bytes_raise(tmp_path: Path, head: bytes, body: bytes, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    path.write_bytes(head + body)
    read_tags(str(path))
