"""Cover art: found in every container, scaled down, and safe against hostile pictures."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import mutagen
import numpy as np
import pytest
from mutagen import asf, flac, id3, mp4

from pipelines.ingest.cover_art import SIDE, thumbnail
from pipelines.ingest.file_tags import TagReader, read_tags
from pipelines.store import covers
from pipelines.store.location import Location
from tests.pipelines.pictures import RED, picture, pixels_of

BACK, FRONT = picture(color=(0, 0, 255)), picture()


def flac_picture(kind: int, data: bytes) -> flac.Picture:
    made = flac.Picture()
    made.type, made.data, made.mime = kind, data, "image/jpeg"
    return made


def add_pictures(path: Path, back: bytes | None, front: bytes) -> None:
    """Add a back cover, then a front cover, in the container's own format."""
    opened: Any = mutagen.File(path)
    listed = [(4, back), (3, front)] if back else [(3, front)]
    if path.suffix in (".mp3", ".wav", ".aiff"):
        if opened.tags is None:
            opened.add_tags()
        for kind, data in listed:
            opened.tags.add(id3.APIC(3, "image/jpeg", kind, f"picture {kind}", data))
    elif path.suffix == ".flac":
        for kind, data in listed:
            opened.add_picture(flac_picture(kind, data))
    elif path.suffix == ".m4a":
        opened["covr"] = [mp4.MP4Cover(front)]
    elif path.suffix == ".wma":
        head = "image/jpeg\0\0".encode("utf-16-le")
        opened["WM/Picture"] = [
            asf.ASFByteArrayAttribute(struct.pack("<BI", kind, len(data)) + head + data) for kind, data in listed
        ]
    else:
        blocks = [base64.b64encode(flac_picture(kind, data).write()).decode() for kind, data in listed]
        opened["metadata_block_picture"] = blocks
    opened.save()


@pytest.mark.parametrize("name", ["a.mp3", "a.flac", "a.ogg", "a.opus", "a.m4a", "a.wma", "a.wav", "a.aiff"])
def test_every_container(audio: Callable[..., Path], name: str) -> None:
    path = audio(name, 1.0, rate_hz=48_000 if name == "a.opus" else 44_100)
    assert read_tags(str(path)).cover is None
    add_pictures(path, BACK, FRONT)
    cover = TagReader().read(str(path)).cover
    assert cover is not None and np.abs(pixels_of(cover)[48, 64].astype(int) - RED).max() < 10


def test_an_ape_tag(audio: Callable[..., Path]) -> None:
    from mutagen import apev2

    path = audio("a.mp3", 1.0, rate_hz=44_100)
    tags = apev2.APEv2()
    tags["Cover Art (Front)"] = apev2.APEValue(b"cover.jpg\0" + FRONT, apev2.BINARY)
    tags.save(path)
    opened: Any = apev2.APEv2File(path)
    from pipelines.ingest.cover_art import front_cover

    assert front_cover(opened) == thumbnail(FRONT)


@pytest.mark.parametrize("kind", ["jpeg", "png", "bmp", "webp"])
@pytest.mark.parametrize(("size", "small"), [((400, 300), (SIDE, 96)), ((300, 600), (64, SIDE)), ((20, 10), (20, 10))])
def test_a_thumbnail_keeps_the_shape(kind: str, size: tuple[int, int], small: tuple[int, int]) -> None:
    made = thumbnail(picture(*size, kind=kind))
    assert made is not None and pixels_of(made).shape == (small[1], small[0], 3) and len(made) < 8000


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG whose header states this size; its data are only zeros."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def test_a_picture_of_gigabytes_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(av.error.FFmpegError):
        thumbnail(png_that_claims(60_000, 60_000))


@pytest.mark.parametrize(
    "data", [FRONT[:200], b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\nxx", b"RIFF", png_that_claims(60_000, 60_000), b"x"]
)
def test_a_bad_picture_costs_no_title(audio: Callable[..., Path], data: bytes) -> None:
    path = audio("a.flac", 1.0)
    add_pictures(path, None, data)
    opened: Any = mutagen.File(path)
    opened["title"] = ["A title"]
    opened.save()
    assert (found := TagReader().read(str(path))).title == "A title"
    assert found.cover is None or len(found.cover) < 8000


@pytest.mark.parametrize("data", [b"#EXTM3U\nfile:///etc/passwd", b"<svg onload='x()'/>", b"GIF89a", b""])
def test_only_pictures_are_decoded(data: bytes) -> None:
    assert thumbnail(data) is None


def test_the_tracks_of_an_album_share_one_file(tmp_path: Path) -> None:
    catalogue = Location(str(tmp_path))
    name = covers.add(catalogue, FRONT)
    assert covers.add(catalogue, FRONT) == name != covers.add(catalogue, BACK)
    assert covers.read(catalogue, name) == FRONT and len(list((tmp_path / "covers").iterdir())) == 2
    (tmp_path / "secret").write_text("x")
    assert covers.read(catalogue, "../secret") is None and covers.read(catalogue, f"{'0' * 32}.jpg") is None
