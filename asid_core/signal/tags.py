"""Lengths of the tags before, between and after the frames of mp3 and AAC files."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import BinaryIO

from asid_core.signal.byte_ranges import read_at

MAX_LYRICS_BYTES = 1 << 20
ID3V1_BYTES = 128


def tag_bytes(file: BinaryIO, offset: int, end: int) -> int:
    """Length of the tag at `offset` in bytes; 0 if there is none or it would end after `end`."""
    head = read_at(file, offset, 32)
    for signature, length in LENGTHS.items():
        if head.startswith(signature):
            size = length(file, offset, head)
            return size if offset + size <= end else 0
    return 0


def _id3v2(_file: BinaryIO, _offset: int, head: bytes) -> int:
    """ID3v2.4 section 3.1: the size has four bytes of 7 bits, and excludes header and footer of 10 bytes each."""
    if len(head) < 10 or not 2 <= head[3] <= 4 or head[4] == 0xFF or max(head[6:10]) >= 0x80:
        return 0
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return 10 + size + (10 if head[5] & 0x10 else 0)


def _ape(_file: BinaryIO, _offset: int, head: bytes) -> int:
    """APE tag v2: the size includes items and footer. A footer that comes first has its items before it."""
    if len(head) < 32:
        return 0
    _, size, _, flags = struct.unpack("<IIII", head[8:24])
    return 32 + int(size) if flags & 1 << 29 else 32


def items_before(head: bytes) -> int:
    """Number of bytes before an APE tag's footer that are its items; 0 for any other tag."""
    if not head.startswith(b"APETAGEX") or len(head) < 32:
        return 0
    _, size, _, flags = struct.unpack("<IIII", head[8:24])
    return 0 if flags & 1 << 29 else max(0, int(size) - 32)


def without_tags(file: BinaryIO, start: int, stop: int) -> int:
    """The position where the audio ends: before the ID3v1 and APE tags that end at `stop`."""
    while stop - start > ID3V1_BYTES:
        foot = read_at(file, stop - ID3V1_BYTES, ID3V1_BYTES)
        if foot.startswith(b"TAG"):
            stop -= ID3V1_BYTES
        elif foot[-32:].startswith(b"APETAGEX"):
            _, size, _, flags = struct.unpack("<IIII", foot[-24:-8])
            stop -= size + (32 if flags & 1 << 31 else 0)
        else:
            break
    return max(stop, start)


def _lyrics(file: BinaryIO, offset: int, _head: bytes) -> int:
    text = read_at(file, offset, MAX_LYRICS_BYTES)
    ends = [at for mark in (b"LYRICS200", b"LYRICSEND") if (at := text.find(mark)) >= 0]
    return min(ends) + 9 if ends else 0


LENGTHS: dict[bytes, Callable[[BinaryIO, int, bytes], int]] = {
    b"ID3": _id3v2,
    b"APETAGEX": _ape,
    b"LYRICSBEGIN": _lyrics,
    b"TAG+": lambda *_: 227,
    b"TAG": lambda *_: ID3V1_BYTES,
}
