"""Recognises a file's format by its content, and splits files that hold several recordings into pieces.

Decoders stop after the first recording of such files: recorded web radio, joined mp3s, `cat a.flac b.flac`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import BinaryIO, Literal

from asid_core.signal import frame_walk, ogg_links, riff
from asid_core.signal.byte_ranges import Part, find_all, read_at
from asid_core.signal.tags import tag_bytes

Decoder = Literal["libsndfile", "ffmpeg"]
HEAD_BYTES = 1 << 16
PADDING_BYTES = 8  # this many zeros are padding; an mp4 box may begin with three
MP3: tuple[Decoder, ...] = ("ffmpeg", "libsndfile")
WAVPACK_INITIAL_BLOCK = 0x800
SNDFILE_FIRST: tuple[Decoder, ...] = ("libsndfile", "ffmpeg")


@dataclass(frozen=True)
class Piece:
    """One recording: its bytes in the file, and the decoders to try, in order."""

    parts: tuple[Part, ...]
    decoders: tuple[Decoder, ...] = SNDFILE_FIRST
    format: str | None = None  # FFmpeg's name of the format, if FFmpeg must not guess
    claim_s: float | None = None  # expected length, counted or stated; a much shorter recording is refused
    about_s: float | None = None  # estimated length; a shorter recording is not refused
    lost_s: float = 0.0  # known to be missing before anything is decoded
    unread_s: float = 0.0  # perhaps missing; reported, but never a reason to refuse the recording


# first bytes of formats in which several recordings may follow each other
SIGNATURES: tuple[tuple[bytes, tuple[Decoder, ...]], ...] = (
    (b"fLaC\x00\x00\x00\x22", SNDFILE_FIRST),
    (b"fLaC\x80\x00\x00\x22", SNDFILE_FIRST),
    (b"caff\x00\x01\x00\x00desc", SNDFILE_FIRST),
    (b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00", SNDFILE_FIRST),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c", ("ffmpeg",)),
    (b"TTA1\x01\x00", ("ffmpeg",)),
    (b"MAC \x96\x0f", ("ffmpeg",)),
)


def pieces_of(file: BinaryIO, end: int) -> list[Piece]:
    """The recordings in a file of `end` bytes, in order; at least one piece."""
    return _known(file, 0, end) or [Piece(((0, end),))]


def _known(file: BinaryIO, start: int, end: int) -> list[Piece]:
    """The recordings from `start` on; empty if the format is unknown."""
    head = read_at(file, start, HEAD_BYTES)
    while size := tag_bytes(file, start, end) or _zeros(head):
        start += size
        head = read_at(file, start, HEAD_BYTES)
    for split in (_by_signature, _ogg, _riff, _aiff, _au, _wavpack, _boxes, _matroska, _frames):
        if pieces := split(file, start, end, head):
            return pieces
    return []


def _zeros(head: bytes) -> int:
    count = len(head) - len(head.lstrip(b"\0"))
    return count if count >= PADDING_BYTES else 0


def _between(starts: list[int], end: int, decoders: tuple[Decoder, ...]) -> list[Piece]:
    return [Piece(((start, stop),), decoders) for start, stop in zip(starts, [*starts[1:], end], strict=True)]


def _by_signature(file: BinaryIO, start: int, end: int, head: bytes) -> list[Piece]:
    for signature, decoders in SIGNATURES:
        if head.startswith(signature):
            return _between(list(find_all(file, start, signature)), end, decoders)
    return []


def _ogg(file: BinaryIO, start: int, end: int, head: bytes) -> list[Piece]:
    if not head.startswith(b"OggS"):
        return []
    links, stop = ogg_links.links(file, start, end)
    pieces = [Piece((link.span,), ("ffmpeg", "libsndfile"), "ogg", link.claim_s, link.duration_s) for link in links]
    rest = read_at(file, stop, HEAD_BYTES)
    if rest.startswith(b"OggS") or not rest.strip(b"\0"):  # a truncated page, or padding
        return pieces
    if behind := _known(file, stop, end):
        return [*pieces, *behind]
    total_s = sum(link.duration_s or 0.0 for link in links)
    return [*pieces[:-1], replace(pieces[-1], unread_s=total_s * (end - stop) / (stop - start))]


def _riff(file: BinaryIO, start: int, end: int, head: bytes) -> list[Piece]:
    waves = riff.waves(file, start, end) if riff.is_wave(head) else ()
    return [Piece(wave.parts, unread_s=wave.unread_s) for wave in waves]


def _aiff(file: BinaryIO, start: int, end: int, head: bytes) -> list[Piece]:
    def begins(at: int) -> bool:
        return read_at(file, at, 16)[8:16] in (b"AIFFCOMM", b"AIFCFVER", b"AIFCCOMM", b"AIFFNAME")

    if head[:4] != b"FORM" or head[8:12] not in (b"AIFF", b"AIFC"):
        return []
    starts = [at for at in find_all(file, start + 1, b"FORM") if begins(at)]
    return _between([start, *starts], end, SNDFILE_FIRST)


def _au(file: BinaryIO, start: int, end: int, head: bytes) -> list[Piece]:
    def begins(at: int) -> bool:
        _, offset, _, encoding, rate_hz, channels = struct.unpack(">4s5I", read_at(file, at, 24).ljust(24, b"\0"))
        return 24 <= offset <= 1 << 16 and 1 <= encoding <= 27 and 1000 <= rate_hz < 1 << 20 and 1 <= channels <= 64

    if not head.startswith(b".snd"):
        return []
    return _between([start, *(at for at in find_all(file, start + 1, b".snd") if begins(at))], end, SNDFILE_FIRST)


def _wavpack(file: BinaryIO, start: int, end: int, head: bytes) -> list[Piece]:
    """WavPack: consecutive blocks; the first block of a recording has index 0 (WavPack 4 file format)."""
    starts, at = [], start
    while len(block := read_at(file, at, 32)) == 32:
        if block[:4] != b"wvpk":
            if not (size := tag_bytes(file, at, end)):
                break
            at += size
            continue
        size, index, samples, flags = struct.unpack("<4xI8xIII", block[:28])
        if index == 0 and samples and flags & WAVPACK_INITIAL_BLOCK:
            starts.append(at)
        at += 8 + size
    return _between(starts, end, ("ffmpeg",)) if starts else []


def _boxes(file: BinaryIO, start: int, end: int, head: bytes) -> list[Piece]:
    """mp4, m4a, mov: consecutive boxes; a second `ftyp` box begins another recording."""
    if head[4:8] not in (b"ftyp", b"moov", b"wide", b"mdat", b"free", b"skip", b"styp"):
        return []
    starts, at = [start], start
    while at + 8 <= end:
        box = read_at(file, at, 16)
        if box[4:8] == b"ftyp" and at > start:
            starts.append(at)
        size = int.from_bytes(box[:4], "big")
        size = int.from_bytes(box[8:16], "big") if size == 1 else size or end
        if size < 8:
            break
        at += size
    return _between(starts, end, ("ffmpeg",))


def _matroska(file: BinaryIO, start: int, end: int, head: bytes) -> list[Piece]:
    signature = b"\x1a\x45\xdf\xa3"

    def begins(at: int) -> bool:
        doc_type = read_at(file, at, 64)
        return b"\x42\x82" in doc_type and (b"matroska" in doc_type or b"webm" in doc_type)

    if not head.startswith(signature):
        return []
    return _between([start, *(at for at in find_all(file, start + 1, signature) if begins(at))], end, ("ffmpeg",))


def _frames(file: BinaryIO, start: int, end: int, head: bytes) -> list[Piece]:
    """mp3, mp2, AAC: counted frame by frame, if the first is within the first 64 kB."""
    if not frame_walk.begins_with_frames(head):
        return []
    walk = frame_walk.walk(file, start, end)
    pieces = [
        Piece(tuple(run.ranges), MP3 if run.kind == "mp3" else ("ffmpeg",), run.kind, run.duration_s)
        for run in walk.runs
        if run.samples
    ]
    if pieces:
        lost_s, unread_s = walk.seconds_of(walk.lost_bytes), walk.seconds_of(walk.unread_bytes)
        pieces[-1] = replace(pieces[-1], lost_s=lost_s, unread_s=unread_s)
    return pieces
