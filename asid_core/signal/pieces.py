"""Recognises formats by their content, and splits files that hold several recordings into pieces.

Decoders stop after the first recording of such files: recorded web radio, joined mp3s, `cat a.flac b.mp3`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import BinaryIO, Literal

from asid_core.signal import frame_walk, ogg_links, riff
from asid_core.signal.boxes import box_end, matroska_end, wavpack_end
from asid_core.signal.byte_ranges import Part, read_at
from asid_core.signal.sample_chunks import samples_of
from asid_core.signal.starts import (
    AMR,
    ASF,
    CAF,
    HEAD_BYTES,
    TTA,
    W64,
    Starts,
    is_ac3,
    is_aiff,
    is_au,
    is_flac,
    is_matroska,
    is_monkeys_audio,
    is_mpegts,
    is_wave,
)
from asid_core.signal.tags import tag_bytes, without_tags

Decoder = Literal["libsndfile", "ffmpeg"]
PADDING_BYTES = 8  # this many zeros are padding; an mp4 box may begin with three
MP3: tuple[Decoder, ...] = ("ffmpeg", "libsndfile")
FFMPEG: tuple[Decoder, ...] = ("ffmpeg",)
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
    unread_bytes: int = 0  # as unread_s, in bytes at the bit rate of the piece
    must_read_all: bool = False  # whether bytes that no decoder reads count as unread
    is_unknown: bool = False  # whether its format is unknown; then it need not be a recording


Found = tuple[list[Piece], int]  # pieces, and where in the file the last one ends


def pieces_of(file: BinaryIO, end: int) -> list[Piece]:
    """The recordings in a file of `end` bytes, in order; at least one piece."""
    pieces: list[Piece] = []
    starts = Starts(file, end)
    at = _after_tags(file, 0, end)
    while at < end:
        found, stop = _at(starts, at)
        if not found and pieces:  # not a recording: what comes behind it?
            stop = starts.next(at + 1)
            found = [replace(pieces.pop(), unread_bytes=stop - at)]
        pieces += found or [Piece(((at, stop),), must_read_all=True, is_unknown=True)]
        at = _after_tags(file, stop, end)
    return pieces or [Piece(((0, end),))]


def _after_tags(file: BinaryIO, at: int, end: int) -> int:
    """Offset behind tags and padding."""
    while size := tag_bytes(file, at, end) or _zeros(read_at(file, at, min(HEAD_BYTES, end - at))):
        at += size
    return at


def _zeros(head: bytes) -> int:
    count = len(head) - len(head.lstrip(b"\0"))
    return count if count >= PADDING_BYTES or count == len(head) else 0


def _at(starts: Starts, start: int) -> Found:
    """The recordings that begin at `start`; none if the format is unknown, and then where the next one begins."""
    head = read_at(starts.file, start, HEAD_BYTES)
    for recognised, split in SPLITTERS:
        if recognised(head):
            return split(starts, start)
    limit = starts.next(start + 1, frames=False)
    if frame_walk.begins_with_frames(head):
        return _frames(starts.file, start, limit), limit
    return [], starts.next(start + 1)


def _until_the_next(decoders: tuple[Decoder, ...]) -> Callable[[Starts, int], Found]:
    """For formats that do not tell where they end."""

    def split(starts: Starts, start: int) -> Found:
        stop = starts.next(start + 1)
        return [Piece(((start, without_tags(starts.file, start, stop)),), decoders, must_read_all=True)], stop

    return split


def _ogg(starts: Starts, start: int) -> Found:
    links, stop = ogg_links.links(starts.file, start, starts.end)
    pieces = [Piece((link.span,), ("ffmpeg", "libsndfile"), "ogg", link.claim_s, link.duration_s) for link in links]
    if read_at(starts.file, stop, 4) == ogg_links.CAPTURE:  # a page that is cut off
        pieces[-1] = replace(pieces[-1], unread_bytes=starts.end - stop)
        stop = starts.end
    return pieces, stop


def _riff(starts: Starts, start: int) -> Found:
    wave = riff.wave(starts.file, start, starts.next(start + 1))
    return [Piece(wave.parts, unread_s=wave.unread_s)], wave.stop


def _samples(starts: Starts, start: int) -> Found:
    samples = samples_of(starts.file, start, starts.next(start + 1))
    return [Piece(samples.parts, unread_bytes=samples.missing_bytes)], samples.stop


def _wavpack(starts: Starts, start: int) -> Found:
    stop = wavpack_end(starts.file, start, starts.end)
    return [Piece(((start, stop),), FFMPEG)], stop


def _boxes(starts: Starts, start: int) -> Found:
    return _until(starts, start, box_end(starts, start))


def _matroska(starts: Starts, start: int) -> Found:
    return _until(starts, start, matroska_end(starts, start))


def _until(starts: Starts, start: int, stop: int) -> Found:
    """stop: where the recording should end, perhaps behind the end of the file."""
    there = min(stop, starts.end)
    return [Piece(((start, there),), FFMPEG, unread_bytes=stop - there)], there


def _is_box(head: bytes) -> bool:
    return head[4:8] in (b"ftyp", b"moov", b"wide", b"mdat", b"free", b"skip", b"styp")


Splitter = Callable[[Starts, int], Found]
SPLITTERS: tuple[tuple[Callable[[bytes], bool], Splitter], ...] = (
    (is_flac, _until_the_next(SNDFILE_FIRST)),
    (lambda head: head.startswith((ASF, TTA)), _until_the_next(FFMPEG)),
    (lambda head: head.startswith(AMR), _until_the_next(FFMPEG)),
    (is_ac3, _until_the_next(FFMPEG)),
    (is_mpegts, _until_the_next(FFMPEG)),
    (is_monkeys_audio, _until_the_next(FFMPEG)),
    (lambda head: head.startswith(ogg_links.CAPTURE), _ogg),
    (is_wave, _riff),
    (lambda head: head.startswith((CAF, W64)), _samples),
    (is_aiff, _samples),
    (is_au, _samples),
    (lambda head: head.startswith(b"wvpk"), _wavpack),
    (_is_box, _boxes),
    (is_matroska, _matroska),
)


def _frames(file: BinaryIO, start: int, end: int) -> list[Piece]:
    """mp3, mp2, AAC: counted frame by frame, if the first is within the first 64 kB."""
    walk = frame_walk.walk(file, start, end)
    pieces = [
        Piece(tuple(run.ranges), MP3 if run.kind == "mp3" else FFMPEG, run.kind, run.duration_s)
        for run in walk.runs
        if run.samples
    ]
    if pieces:
        lost_s, unread_s = walk.seconds_of(walk.lost_bytes), walk.seconds_of(walk.unread_bytes)
        pieces[-1] = replace(pieces[-1], lost_s=lost_s, unread_s=unread_s)
    return pieces
