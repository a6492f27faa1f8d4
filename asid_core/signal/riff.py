"""Repairs wav files with wrong sizes: written to a pipe, truncated, or longer than 4 GB.

Sources: Microsoft's "Multimedia Programming Interface and Data Specifications 1.0"; EBU Tech 3306 (RF64).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import BinaryIO

from asid_core.signal.byte_ranges import Part, read_at, size_of
from asid_core.signal.starts import begins_with_frames, printable

UNKNOWN_BYTES = 0x7FFF0000  # programs that write to a pipe claim at least this size
MAX_RIFF_BYTES = 0xFFFFFFFF - (1 << 16)


@dataclass
class Wave:
    """One wav: a corrected header and the ranges of its samples, or its bytes in the file if they are right."""

    parts: tuple[Part, ...]
    stop: int  # where it ends in the file
    unread_s: float = 0.0  # length that the header claims but the file lacks


@dataclass
class _Chunks:
    """The contents of the chunks of one wav."""

    order: str  # byte order, for struct
    stop: int
    format: bytes = b""
    data: list[tuple[int, int]] = field(default_factory=list)
    missing_bytes: int = 0
    wrong: bool = False


def wave(file: BinaryIO, start: int, end: int) -> Wave:
    """The wav that begins at `start`. Nothing else that can be recognised by its first bytes begins before `end`."""
    chunks = _chunks(file, start, end)
    if len(chunks.format) < 16 or not chunks.data:
        return Wave(((start, end),), end)
    (bytes_per_s,) = struct.unpack(chunks.order + "I", chunks.format[8:12])
    unread_s = chunks.missing_bytes / bytes_per_s if bytes_per_s else 0.0
    if not chunks.wrong and len(chunks.data) == 1:
        return Wave(((start, chunks.stop),), chunks.stop, unread_s)
    return Wave((_header(chunks), *chunks.data), chunks.stop, unread_s)


def _chunks(file: BinaryIO, start: int, end: int) -> _Chunks:
    chunks = _Chunks(">" if read_at(file, start, 4) == b"RIFX" else "<", end)
    data_bytes: int | None = None  # of RF64
    at = start + 12
    while at + 8 <= end:
        name, size = struct.unpack(chunks.order + "4sI", read_at(file, at, 8))
        if chunks.data and not _is_chunk(name, size, end - at - 8):
            _take_rest(chunks, file, at, end)
            break
        if name == b"ds64":
            data_bytes = struct.unpack("<Q", read_at(file, at + 16, 8))[0]
        if name == b"fmt ":
            chunks.format = chunks.format or read_at(file, at + 8, min(size, 1 << 10))
        if name == b"data":
            size = data_bytes if size == 0xFFFFFFFF and data_bytes else size
            _take_data(chunks, at + 8, size, end)
        at += 8 + size + size % 2
    return chunks


def _take_data(chunks: _Chunks, start: int, size: int, end: int) -> None:
    there = min(size, end - start)
    if size > there:
        chunks.missing_bytes += size - there if size < UNKNOWN_BYTES else 0
        chunks.wrong = True
    chunks.data.append((start, start + there))


def _take_rest(chunks: _Chunks, file: BinaryIO, at: int, end: int) -> None:
    """Count data after the samples that is not a chunk as more samples, unless it is padding, a tag or an mp3."""
    first, stop = chunks.data[-1]
    if begins_with_frames(file, at, end):
        chunks.stop = at
        return
    head = read_at(file, stop, 1 << 16)
    if end - stop <= 8 or not head.strip(b"\0") or head.lstrip(b"\0").startswith((b"TAG", b"ID3", b"APETAGEX")):
        return
    chunks.data[-1] = (first, end)
    chunks.wrong = True


def _is_chunk(name: bytes, size: int, left: int) -> bool:
    return printable(name) and size <= left + 1


def _header(chunks: _Chunks) -> bytes:
    """A corrected header: RIFF, or RF64 if there are more than 4 GB of samples."""
    size = sum(map(size_of, chunks.data))
    word = chunks.order + "I"
    form = b"fmt " + struct.pack(word, len(chunks.format)) + chunks.format
    form += b"\0" * (len(chunks.format) % 2)
    if size <= MAX_RIFF_BYTES or chunks.order == ">":
        name, size = b"RIFF" if chunks.order == "<" else b"RIFX", min(size, MAX_RIFF_BYTES)
        whole = 4 + len(form) + 8 + size
        return name + struct.pack(word, whole) + b"WAVE" + form + b"data" + struct.pack(word, size)
    align = max(1, int.from_bytes(chunks.format[12:14], "little"))
    sizes = struct.pack("<QQQI", 4 + 36 + len(form) + 8 + size, size, size // align, 0)
    return b"RF64\xff\xff\xff\xffWAVEds64" + struct.pack("<I", 28) + sizes + form + b"data\xff\xff\xff\xff"
