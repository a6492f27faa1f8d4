"""Finds where a recording begins, in any format whose first bytes are unmistakable."""

from __future__ import annotations

import bisect
import functools
import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np

from asid_core.signal import frame_walk
from asid_core.signal.byte_ranges import CHUNK_BYTES, read_at
from asid_core.signal.tags import tag_bytes

HEAD_BYTES = 1 << 16
ABSURD_BYTES = 1 << 40  # of a part; a header that states more is damaged
OVERLAP_BYTES = 32  # longer than any mark
WAVPACK_INITIAL_BLOCK = 0x800
MONKEY_VERSIONS = range(3800, 4000)

CAF = b"caff\x00\x01\x00\x00desc"
W64 = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
ASF = b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c"
TTA = b"TTA1\x01\x00"
EBML = b"\x1a\x45\xdf\xa3"
RIFFS = (b"RIFF", b"RIFX", b"RF64", b"BW64")
AMR = (b"#!AMR\n", b"#!AMR-WB\n")
AC3_KBPS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)
AU_ORDERS = {b".snd": ">", b"dns.": "<"}


def printable(name: bytes) -> bool:
    return all(0x20 <= byte < 0x7F for byte in name)


def is_flac(head: bytes) -> bool:
    return head[:4] == b"fLaC" and head[4:8] in (b"\x00\x00\x00\x22", b"\x80\x00\x00\x22")


def is_wave(head: bytes) -> bool:
    return head[:4] in RIFFS and head[8:12] == b"WAVE" and printable(head[12:16])


def is_aiff(head: bytes) -> bool:
    return head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC") and printable(head[12:16])


def is_au(head: bytes) -> bool:
    if head[:4] not in AU_ORDERS or len(head) < 24:
        return False
    _, offset, _, encoding, rate_hz, channels = struct.unpack(AU_ORDERS[head[:4]] + "4s5I", head[:24])
    return 24 <= offset <= 1 << 16 and 1 <= encoding <= 27 and 1000 <= rate_hz < 1 << 20 and 1 <= channels <= 64


def is_wavpack(head: bytes) -> bool:
    """Whether this is the first block of a recording (WavPack 4 file format)."""
    if head[:4] != b"wvpk" or len(head) < 28:
        return False
    index, samples, flags = struct.unpack("<III", head[16:28])
    return bool(index == 0 and samples and flags & WAVPACK_INITIAL_BLOCK)


def is_mp4(head: bytes) -> bool:
    return head[4:8] == b"ftyp" and 16 <= int.from_bytes(head[:4], "big") <= 1 << 10 and printable(head[8:11])


def is_matroska(head: bytes) -> bool:
    return head[:4] == EBML and b"\x42\x82" in head[:64] and (b"matroska" in head[:64] or b"webm" in head[:64])


def is_monkeys_audio(head: bytes) -> bool:
    return head[:4] == b"MAC " and int.from_bytes(head[4:6], "little") in MONKEY_VERSIONS


def is_ogg(head: bytes) -> bool:
    return head[:6] == b"OggS\x00\x02" and not any(head[6:14])


def is_ac3(head: bytes) -> bool:
    """Whether two frames of AC-3 or E-AC-3 stand here (ATSC A/52, sections 5.4.1 and E.1.3)."""
    if head[:2] != b"\x0b\x77" or len(head) < 8:
        return False
    if head[5] >> 3 > 10:
        size = 2 * ((head[2] & 7) << 8 | head[3]) + 2
    else:
        rate, code = head[4] >> 6, head[4] & 63
        if rate == 3 or code >= 2 * len(AC3_KBPS):
            return False
        kbps = AC3_KBPS[code // 2]
        size = 2 * (2 * kbps, 320 * kbps // 147 + code % 2, 3 * kbps)[rate]
    return head[size : size + 2] == b"\x0b\x77"


def is_mpegts(head: bytes) -> bool:
    """Whether packets of an MPEG transport stream stand here (ISO/IEC 13818-1, section 2.4.3.2)."""
    return len(head) > 8 * 188 and all(head[188 * packet] == 0x47 for packet in range(9))


# characteristic bytes, where they stand in a recording, and the whole check
Check = Callable[[bytes], bool]
FORMATS: tuple[tuple[bytes, int, Check], ...] = (
    (b"fLaC", 0, is_flac),
    *((name, 0, is_wave) for name in RIFFS),
    (b"FORM", 0, is_aiff),
    *((name, 0, is_au) for name in AU_ORDERS),
    (b"wvpk", 0, is_wavpack),
    (b"ftyp", 4, is_mp4),
    (EBML, 0, is_matroska),
    (b"MAC ", 0, is_monkeys_audio),
    (b"OggS\x00\x02", 0, is_ogg),
    *((whole, 0, lambda head: True) for whole in (CAF, W64, ASF, TTA, *AMR)),
)
# marks in the first frame of an mp3, behind a header and side information of so many bytes; and tags in front of it
FRAME_MARKS = (
    *((name, before) for name in (b"Xing", b"Info") for before in (36, 21, 13)),
    *((b"ID3" + bytes([version]), 0) for version in (2, 3, 4)),
)
PAIR = np.zeros(1 << 16, bool)  # whether a mark begins with these two bytes
for mark in [entry[0] for entry in FORMATS] + [entry[0] for entry in FRAME_MARKS]:
    PAIR[int.from_bytes(mark[:2], "little")] = True


class Starts:
    """Where recordings begin in a file of `end` bytes. Reads it once, a megabyte at a time, when first asked."""

    def __init__(self, file: BinaryIO, end: int) -> None:
        self.file, self.end = file, end

    def next(self, start: int, frames: bool = True) -> int:
        """Offset of the next recording at or after `start`; `end` if there is none.

        frames: also mp3 and AAC, if they begin with a tag or a Xing frame.
        """
        offsets = self._offsets if frames else self._unframed
        index = bisect.bisect_left(offsets, start)
        return offsets[index] if index < len(offsets) else self.end

    @functools.cached_property
    def _unframed(self) -> list[int]:
        return sorted(self._found[0])

    @functools.cached_property
    def _offsets(self) -> list[int]:
        return sorted(self._found[0] | self._found[1])

    @functools.cached_property
    def _found(self) -> tuple[set[int], set[int]]:
        formats: set[int] = set()
        framed: set[int] = set()
        for base in range(0, self.end, CHUNK_BYTES):
            data = read_at(self.file, base, min(CHUNK_BYTES + OVERLAP_BYTES, self.end - base))
            for at in _marked(data):
                formats.update(base + first for first in self._formats_at(data, base, at))
                framed.update(base + first for first in self._frames_at(data, base, at))
        return formats, framed

    def _formats_at(self, data: bytes, base: int, at: int) -> Iterator[int]:
        for mark, before, check in FORMATS:
            if data.startswith(mark, at) and base + at >= before and check(read_at(self.file, base + at - before, 64)):
                yield at - before

    def _frames_at(self, data: bytes, base: int, at: int) -> Iterator[int]:
        for mark, before in FRAME_MARKS:
            first = base + at - before
            if data.startswith(mark, at) and first >= 0 and begins_with_frames(self.file, first, self.end):
                yield at - before


def _marked(data: bytes) -> list[int]:
    """Offsets of the pairs of bytes with which marks begin."""
    found = []
    for shift in (0, 1):
        pairs = np.frombuffer(data, "<u2", (len(data) - shift) // 2, shift) if len(data) > 2 else np.zeros(0, "<u2")
        found.append(2 * np.flatnonzero(PAIR[pairs]) + shift)
    return list(map(int, np.sort(np.concatenate(found))))


def begins_with_frames(file: BinaryIO, start: int, end: int) -> bool:
    """Whether mp3, AAC, AC-3 or a transport stream begins exactly at `start`, or after tags there."""
    while size := tag_bytes(file, start, end):
        start += size
    head = read_at(file, start, min(HEAD_BYTES, end - start))
    return is_ac3(head) or is_mpegts(head) or head[:1] == b"\xff" and frame_walk.begins_with_frames(head)
