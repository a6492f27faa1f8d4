"""Compares the size that an AIFF, AU, CAF or W64 header states for its samples with what the file holds.

Sources: Apple's "Audio Interchange File Format 1.3" and "Core Audio Format Specification 1.0"; Sony's "Wave64 1.0"; the
manual page of Sun's audio file format.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

from asid_core.signal.byte_ranges import Part, read_at
from asid_core.signal.starts import ABSURD_BYTES, AU_ORDERS, CAF, HEAD_BYTES, W64, begins_with_frames, printable
from asid_core.signal.tags import LENGTHS

UNKNOWN_BYTES = (-1, 0, 0xFFFFFFFF)
PADDING_BYTES = 16


@dataclass(frozen=True)
class Layout:
    """How a format's chunks are laid out."""

    first: int  # offset of the first chunk
    name_bytes: int
    size: str  # the field behind the name, for struct
    samples: bytes  # the name of the chunk that holds the samples begins with this
    align: int  # chunks begin at multiples of this
    counts_header: bool = False  # whether the size includes name and size

    @property
    def header_bytes(self) -> int:
        return self.name_bytes + struct.calcsize(self.size)

    def size_of(self, header: bytes) -> int:
        """The size of a chunk's contents."""
        (size,) = struct.unpack(self.size, header[self.name_bytes : self.header_bytes])
        return int(size) - (self.header_bytes if self.counts_header else 0)


LAYOUTS = {
    b"FORM": Layout(12, 4, ">I", b"SSND", 2),
    CAF[:4]: Layout(8, 4, ">q", b"data", 1),
    W64[:4]: Layout(40, 16, "<q", b"data", 8, counts_header=True),
}


@dataclass(frozen=True)
class Samples:
    """The bytes to decode, the header corrected if it states too little; and how many of those stated are missing."""

    parts: tuple[Part, ...]
    stop: int
    missing_bytes: int = 0


def samples_of(file: BinaryIO, start: int, end: int) -> Samples:
    """The samples of the AIFF, AU, CAF or W64 that begins at `start`. No other recording begins before `end`."""
    head = read_at(file, start, 24)
    if order := AU_ORDERS.get(head[:4]):
        offset, size = struct.unpack(order + "II", head[4:12])
        if _goes_on(file, start + offset, size, end):
            return _patched(start, start + 8, struct.pack(order + "I", 0xFFFFFFFF), end)
        return _stated(file, start, start + offset + size, end)
    return _of_chunks(file, start, end, LAYOUTS[head[:4]])


def _of_chunks(file: BinaryIO, start: int, end: int, layout: Layout) -> Samples:
    at = start + layout.first
    while at + layout.header_bytes <= end:
        header = read_at(file, at, layout.header_bytes)
        size, first = layout.size_of(header), at + layout.header_bytes
        if header.startswith(layout.samples):
            if not _goes_on(file, first, size, end):
                return _stated(file, start, first + size, end)
            if _is_chunk(file, first + size, end, layout):
                return Samples(((start, end),), end)
            left = end - at if layout.counts_header else end - first
            field = struct.pack(layout.size, min(left, 0xFFFFFFFE))
            return _patched(start, at + layout.name_bytes, field, end)
        if size < 0:
            break
        at = start - (-(first + size - start) // layout.align) * layout.align
    return Samples(((start, end),), end)


def _goes_on(file: BinaryIO, first: int, size: int, end: int) -> bool:
    """Whether samples follow behind the last one that is stated: not just padding, a tag or an mp3."""
    stop = first + size
    if size in UNKNOWN_BYTES or size < 0:
        return True
    if end - stop <= PADDING_BYTES or begins_with_frames(file, stop, end):
        return False
    head = read_at(file, stop, HEAD_BYTES).lstrip(b"\0")
    return bool(head) and not head.startswith(tuple(LENGTHS))


def _is_chunk(file: BinaryIO, stop: int, end: int, layout: Layout) -> bool:
    if stop < 0:
        return False
    header = read_at(file, stop + stop % 2 if layout.align == 2 else stop, layout.header_bytes)
    return len(header) == layout.header_bytes and printable(header[:4]) and layout.size_of(header) <= end - stop


def _stated(file: BinaryIO, start: int, stop: int, end: int) -> Samples:
    """Samples that end where the header states, or where the file ends."""
    is_followed = stop < end and begins_with_frames(file, stop, end)
    missing_bytes = max(0, stop - end)
    there = ((start, min(stop, end)),)
    return Samples(there, stop if is_followed else end, missing_bytes if missing_bytes < ABSURD_BYTES else 0)


def _patched(start: int, at: int, data: bytes, end: int) -> Samples:
    return Samples(((start, at), data, (at + len(data), end)), end)
