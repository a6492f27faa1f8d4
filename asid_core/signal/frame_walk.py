"""Counts the frames of mp3 and AAC files, because decoders only guess the length of such files from the bit rate.

Sources: ISO/IEC 11172-3 section 2.4.2.3 (MPEG audio), ISO/IEC 14496-3 section 1.A.2 (ADTS).
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

from asid_core.signal.byte_ranges import CHUNK_BYTES, read_at
from asid_core.signal.tags import items_before, tag_bytes

CONFIRMING_FRAMES = 2  # must follow the first frame, because other data (a picture) may look like a header
MARKS = {b"Xing", b"Info"}
FRAME_KINDS = ("mp3", "aac")
FRAME_OR_TAG = re.compile(rb"\xff|ID3|APETAGEX|TAG|LYRICSBEGIN")
BIT_RATES_KBPS = {  # (is MPEG-1, layer) -> bit rates by index, from 1
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
ADTS_RATES_HZ = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)


class Frame(NamedTuple):
    """The contents of a frame's header. `kind` is FFmpeg's name of the format."""

    kind: str
    size_bytes: int
    samples: int
    rate_hz: int
    layer: int


@dataclass
class Run:
    """Frames of one kind and rate that belong to one recording. `ranges`: their (start, stop) in the file."""

    kind: str
    rate_hz: int
    ranges: list[tuple[int, int]] = field(default_factory=list)
    samples: int = 0
    claimed_samples: int | None = None  # stated by a Xing, Info or VBRI frame

    def add(self, offset: int, size_bytes: int, samples: int) -> None:
        """Add the next frame."""
        self.samples += samples
        stop = offset + size_bytes
        if self.ranges and self.ranges[-1][1] == offset:
            offset, _ = self.ranges.pop()
        self.ranges.append((offset, stop))

    @property
    def duration_s(self) -> float:
        """The stated or the counted length, whichever is longer."""
        return max(self.samples, self.claimed_samples or 0) / self.rate_hz


@dataclass
class Walk:
    """The runs of a file, and the number of bytes that are neither frames nor tags."""

    runs: list[Run] = field(default_factory=list)
    lost_bytes: int = 0  # between frames
    unread_bytes: int = 0  # after the last frame

    def seconds_of(self, size_bytes: int) -> float:
        """The duration of `size_bytes` bytes at the average bit rate of the frames; 0 if there are none."""
        held = sum(stop - start for run in self.runs for start, stop in run.ranges)
        seconds = sum(run.samples / run.rate_hz for run in self.runs)
        return size_bytes * seconds / held if held else 0.0


def _mpeg_frames() -> dict[int, Frame]:
    """All valid MPEG frames, keyed by the second and third byte of their header."""
    frames = {}
    for second in range(0xE0, 0x100):
        for third in range(0x100):
            version, layer = second >> 3 & 3, 4 - (second >> 1 & 3)
            bit_rate, rate = third >> 4, third >> 2 & 3
            if version == 1 or layer == 4 or bit_rate in (0, 15) or rate == 3:
                continue
            rate_hz = (44_100, 48_000, 32_000)[rate] >> {3: 0, 2: 1, 0: 2}[version]
            bits = 1000 * BIT_RATES_KBPS[version == 3, layer][bit_rate - 1]
            samples = {1: 384, 2: 1152, 3: 1152 if version == 3 else 576}[layer]
            slot = 4 if layer == 1 else 1
            size = (samples // 8 // slot * bits // rate_hz + (third >> 1 & 1)) * slot
            frames[second << 8 | third] = Frame("mp3", size, samples, rate_hz, layer)
    return frames


MPEG_FRAMES = _mpeg_frames()


def frame_of(header: bytes) -> Frame | None:
    """The frame described by a header of 7 bytes; None if it is not one."""
    if len(header) < 4 or header[0] != 0xFF:
        return None
    if frame := MPEG_FRAMES.get(header[1] << 8 | header[2]):
        return frame
    rate = header[2] >> 2 & 15
    if len(header) < 7 or header[1] & 0xF6 != 0xF0 or rate >= len(ADTS_RATES_HZ):
        return None
    size = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    return Frame("aac", size, 1024 * ((header[6] & 3) + 1), ADTS_RATES_HZ[rate], 4) if size > 7 else None


def claimed_frames(frame: bytes) -> int | None:
    """Number of frames stated by a Xing, Info or VBRI frame; 0 if it states none, None for any other frame."""
    mpeg1, mono = frame[1] & 8, frame[3] >> 6 == 3
    at = 4 + ((17 if mono else 32) if mpeg1 else (9 if mono else 17))
    if frame[at : at + 4] in MARKS and len(frame) >= at + 12:
        return int.from_bytes(frame[at + 8 : at + 12], "big") if frame[at + 7] & 1 else 0
    return int.from_bytes(frame[50:54], "big") if frame[36:40] == b"VBRI" else None


class _Buffer:
    """Buffered access to the bytes around the current position of the walk."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self._base, self._data = 0, b""

    def at(self, offset: int, size: int) -> bytes:
        first = offset - self._base
        if first < 0 or first + size > len(self._data):
            self._base, self._data = offset, read_at(self.file, offset, max(size, CHUNK_BYTES))
            first = 0
        return self._data[first : first + size]

    def next(self, offset: int, end: int) -> int:
        """Offset at which the next frame or tag may begin, at most 256 kB ahead."""
        data = self.at(offset, min(CHUNK_BYTES // 4, end - offset))
        match = FRAME_OR_TAG.search(data)
        return offset + (match.start() if match else len(data))


def walk(file: BinaryIO, start: int, end: int) -> Walk:
    """Find all MPEG audio or ADTS frames of `file` between two offsets. Without frames, there are no runs."""
    result = Walk()
    buffer = _Buffer(file)
    offset, gap = start, True
    while offset + 4 <= end:
        frame = frame_of(buffer.at(offset, 7))
        run = result.runs[-1] if result.runs else None
        continues = run is not None and frame is not None and (frame.kind, frame.rate_hz) == (run.kind, run.rate_hz)
        if frame is None or not ((continues and not gap) or _confirmed(buffer, offset, frame, end)):
            offset = _skip(result, buffer, offset, end)
            gap = True
            continue
        if offset + frame.size_bytes > end:
            break
        claim = claimed_frames(buffer.at(offset, 200)) if frame.layer == 3 else None
        if run is None or not continues or claim is not None:
            result.unread_bytes = result.unread_bytes if run else 0  # data before the first frame is not audio
            run = Run(frame.kind, frame.rate_hz, claimed_samples=claim * frame.samples if claim else None)
            result.runs.append(run)
        run.add(offset, frame.size_bytes, frame.samples if claim is None else 0)
        result.lost_bytes += result.unread_bytes
        result.unread_bytes = 0
        offset, gap = offset + frame.size_bytes, False
    return result


def begins_with_frames(head: bytes) -> bool:
    """Whether the first 64 kB of a file, after tags and padding, contain a frame that is followed by others."""
    file = io.BytesIO(head)
    at = _Buffer(file).next(len(head) - len(head.lstrip(b"\0")), len(head))
    frame = frame_of(head[at : at + 7])
    return frame is not None and _confirmed(_Buffer(file), at, frame, len(head))


def _confirmed(buffer: _Buffer, offset: int, frame: Frame, end: int) -> bool:
    """Whether frames of the same kind and rate follow, or the file ends exactly after a frame."""
    for _ in range(CONFIRMING_FRAMES):
        offset += frame.size_bytes
        if offset == end or tag_bytes(buffer.file, offset, end):
            return True
        if offset > end:
            return False
        after = frame_of(buffer.at(offset, 7))
        if after is None or (after.kind, after.rate_hz, after.layer) != (frame.kind, frame.rate_hz, frame.layer):
            return False
        frame = after
    return True


def _skip(result: Walk, buffer: _Buffer, offset: int, end: int) -> int:
    """Skip a tag or other data, and return the offset after it. Zero padding and APE tag items do not count as lost."""
    if size := tag_bytes(buffer.file, offset, end):
        result.unread_bytes = max(0, result.unread_bytes - items_before(buffer.at(offset, 32)))
        return offset + size
    stop = min(buffer.next(offset + 1, end), end)
    passed = buffer.at(offset, stop - offset)
    result.unread_bytes += len(passed) - passed.count(0)
    return stop
