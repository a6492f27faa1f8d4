"""Where a recording ends in formats that consist of parts with stated sizes: mp4, Matroska and WavPack.

Sources: ISO/IEC 14496-12 section 4.2 (boxes); RFC 8794 section 4 (EBML); "WavPack 4 & 5 Binary File / Block Format".
"""

from __future__ import annotations

from typing import BinaryIO

from asid_core.signal.byte_ranges import read_at
from asid_core.signal.starts import ABSURD_BYTES, Starts, is_matroska, is_mp4, is_wavpack, printable
from asid_core.signal.tags import tag_bytes

SEGMENT = b"\x18\x53\x80\x67"


def box_end(starts: Starts, start: int) -> int:
    """The end of the boxes of an mp4 that begins at `start`; behind the file's end if the last one is cut off."""
    file, end, at = starts.file, starts.end, start
    while at + 8 <= end:
        box = read_at(file, at, 64)
        if at > start and (is_mp4(box) or not printable(box[4:8])):
            break
        size = int.from_bytes(box[:4], "big")
        size = int.from_bytes(box[8:16], "big") if size == 1 else size or end - at
        if size < 8 or size > ABSURD_BYTES or at + size > end and starts.next(at) < end:
            return starts.next(at)
        at += size
    return at


def matroska_end(starts: Starts, start: int) -> int:
    """The end of a Matroska file that begins at `start`; behind the file's end if it is cut off."""
    head = read_at(starts.file, start, 1 << 12)
    header, at = _number(head, 4)
    segment = at + (header or 0)
    if header is not None and head[segment : segment + 4] == SEGMENT:
        size, first = _number(head, segment + 4)
        if size is not None and size < ABSURD_BYTES:
            return start + first + size
    at = starts.next(start + 1, frames=False)  # its size is unknown; what a codec needs may look like a recording
    while at < starts.end and not is_matroska(read_at(starts.file, at, 64)):
        at = starts.next(at + 1, frames=False)
    return at


def _number(data: bytes, at: int) -> tuple[int | None, int]:
    """A variable-length size and the offset behind it; None if the size is unknown."""
    width = 9 - data[at].bit_length() if at < len(data) and data[at] else 1
    mask = (1 << 7 * width) - 1
    value = int.from_bytes(data[at : at + width], "big") & mask
    return (None if value == mask else value), at + width


def wavpack_end(file: BinaryIO, start: int, end: int) -> int:
    """The end of the blocks of a WavPack recording that begins at `start`, with the tags between them."""
    at = start
    while at < end:
        block = read_at(file, at, 32)
        if block[:4] != b"wvpk":
            if not (size := tag_bytes(file, at, end)):
                break
            at += size
            continue
        if at > start and is_wavpack(block):
            break
        at = min(end, at + 8 + int.from_bytes(block[4:8], "little"))
    return at
