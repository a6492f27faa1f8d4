"""Decodes recordings. The content decides how a file is read, never its name.

`pieces` finds the recordings in a file and the decoders for each, and `readers` decodes them. This module joins them,
checks them and mixes them to mono. Everything is streamed, so long files and false headers take little memory.

A file that ends early is used if at least 90 % of the length in its header is there, else it is refused, because spans
in half a recording are of no use. The lengths in wav and Ogg headers are ignored, because programs that write to a pipe
leave them wrong.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

import numpy as np

from asid_core.signal.byte_ranges import size_of
from asid_core.signal.frame_walk import FRAME_KINDS
from asid_core.signal.mono import to_mono
from asid_core.signal.pieces import Piece, pieces_of
from asid_core.signal.readers import Block, CannotOpen, Opened, open_piece, resampled
from asid_core.signal.resample import resample_blocks

MIN_SHARE = 0.9
MAX_CHANNELS = 64
MIN_RATE_HZ, MAX_RATE_HZ = 1_000, 768_000
MAX_AMPLITUDE = 100.0  # loud masters stay below 4; float files that hold integers reach 32,768
PADDING_S = 0.15  # a recording that is at most this much shorter than its header says is complete: encoders pad

# Yields mono float32 blocks [n_i]; returns how many seconds of the recording are missing
Blocks = Generator[np.ndarray, None, float]


class DecodeError(Exception):
    """A recording cannot be used. `error_type` is one word, for programs; `message` is a sentence, for people."""

    def __init__(self, error_type: str, message: str) -> None:
        super().__init__(error_type, message)
        self.error_type = error_type
        self.message = message

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True)
class AudioInfo:
    """The header information of all recordings in a file. `duration_s` is None if a header does not say."""

    rate_hz: int
    channels: int
    duration_s: float | None


def decode(path: str) -> Iterator[np.ndarray]:
    """Decode a file to mono float32 blocks [n_i] at 16 kHz. Raises DecodeError, also while iterating."""
    with open_native(path) as (info, blocks):
        yield from resample_blocks(blocks, info.rate_hz)


@contextlib.contextmanager
def open_native(path: str) -> Iterator[tuple[AudioInfo, Blocks]]:
    """The header, and mono float32 blocks [n_i] at the file's own rate. Raises DecodeError, also while iterating.

    If the file holds several recordings, yields all of them, at the highest of their rates.
    """
    with _opened(path) as file:
        pieces = pieces_of(file, os.fstat(file.fileno()).st_size)
        info = _info(file, pieces)
        yield info, _checked(_Reading(file, pieces, info.rate_hz))


def _opened(path: str) -> BinaryIO:
    """Open a regular file. Others are refused: a pipe or device may be endless, and opening one may block."""
    try:
        kind = os.stat(path).st_mode
        if stat.S_ISDIR(kind):
            raise IsADirectoryError
        if not stat.S_ISREG(kind):
            raise DecodeError("not_a_file", "this is a pipe, socket or device, not a file")
        file = open(path, "rb")  # noqa: SIM115  # the caller closes it
    except OSError as error:
        raise unreadable(error) from None
    if not os.fstat(file.fileno()).st_size:
        file.close()
        raise DecodeError("empty", "the file is empty (0 bytes)")
    return file


def unreadable(error: OSError) -> DecodeError:
    """The DecodeError for a file that cannot be opened."""
    if isinstance(error, FileNotFoundError):
        return DecodeError("vanished", "the file does not exist")
    if isinstance(error, IsADirectoryError):
        return DecodeError("folder", "this is a folder, not a file")
    if isinstance(error, PermissionError):
        return DecodeError("unreadable", "no permission to read the file")
    return DecodeError("unreadable", f"the file cannot be read: {error.strerror or error}")


def _info(file: BinaryIO, pieces: list[Piece]) -> AudioInfo:
    """The header information of all pieces that can be opened. Raises the DecodeError of the first if none can."""
    infos: list[AudioInfo] = []
    problems: list[DecodeError] = []
    for piece in pieces:
        with contextlib.ExitStack() as stack:
            try:
                opened = _open(stack, file, piece)
            except DecodeError as problem:
                problems.append(problem)
                continue
            duration_s = piece.claim_s or piece.about_s or opened.claim_s
            infos.append(AudioInfo(opened.rate_hz, opened.channels, duration_s))
    if not infos:
        raise problems[0]
    known = [info.duration_s for info in infos if info.duration_s is not None]
    return AudioInfo(
        max(info.rate_hz for info in infos),
        max(info.channels for info in infos),
        sum(known) if len(known) == len(pieces) else None,
    )


def _open(stack: contextlib.ExitStack, file: BinaryIO, piece: Piece) -> Opened:
    try:
        opened = open_piece(stack, file, piece)
    except CannotOpen as problem:
        raise DecodeError("not_audio", f"this is not readable audio ({problem})") from None
    if not 1 <= opened.channels <= MAX_CHANNELS:
        raise DecodeError("header", f"the header claims {opened.channels} channels; 1 to {MAX_CHANNELS} are allowed")
    if not MIN_RATE_HZ <= opened.rate_hz <= MAX_RATE_HZ:
        raise DecodeError("header", f"the header claims an impossible sample rate, {opened.rate_hz} Hz")
    return opened


class _Reading:
    """Reads all recordings of a file as one, and counts the claimed and the decoded length."""

    def __init__(self, file: BinaryIO, pieces: list[Piece], rate_hz: int) -> None:
        self._file, self._pieces, self._rate_hz = file, pieces, rate_hz
        self.found_s = self.missing_s = self.unread_s = 0.0
        self.complaints: list[str] = []

    def blocks(self) -> Iterator[np.ndarray]:
        """Mono float32 blocks [n_i] at `rate_hz`."""
        silent = []
        for piece in self._pieces:
            before_s = self.found_s
            for rate_hz, run in itertools.groupby(self._piece(piece), key=lambda block: block[0]):
                mono = to_mono((samples for _, samples in run), rate_hz)
                yield from mono if rate_hz == self._rate_hz else resampled(mono, rate_hz, self._rate_hz)
            if self.found_s == before_s and not piece.claim_s:
                silent.append(piece)
        for piece in silent:
            if not piece.is_unknown:
                self.missing_s += self._by_size_s(piece)
            elif not self._is_junk(piece):
                self.unread_s += self._by_size_s(piece)

    def _is_junk(self, piece: Piece) -> bool:
        """Whether data of unknown format is a few bytes or stands in front of an mp3, where broken tags are common."""
        following = self._pieces[self._pieces.index(piece) + 1 :]
        return self._by_size_s(piece) <= PADDING_S or bool(following and following[0].format in FRAME_KINDS)

    def _piece(self, piece: Piece) -> Iterator[Block]:
        """The blocks of a piece. If a decoder ends early, the next one continues from there."""
        found_s, claim_s, left_bytes = 0.0, piece.claim_s, 0
        for decoder in piece.decoders:
            with contextlib.ExitStack() as stack:
                try:
                    opened = open_piece(stack, self._file, replace(piece, decoders=(decoder,)))
                except CannotOpen as problem:
                    self.complaints.append(str(problem))
                    continue
                claim_s, before_s = piece.claim_s or opened.claim_s, found_s
                for rate_hz, samples in _from(opened.blocks, found_s):
                    found_s += len(samples) / rate_hz
                    self.found_s += len(samples) / rate_hz
                    yield rate_hz, samples
                self.complaints += opened.complaints
                if piece.must_read_all and found_s > before_s:
                    left_bytes = opened.left_bytes()
            if found_s and found_s >= (claim_s or 0.0) - PADDING_S and not left_bytes:
                break
        missing_s = (claim_s or 0.0) - found_s
        self.missing_s += piece.lost_s + (missing_s if missing_s > PADDING_S else 0.0)
        self.unread_s += piece.unread_s
        if unread_bytes := piece.unread_bytes + left_bytes:
            read_bytes = sum(map(size_of, piece.parts)) - left_bytes
            self.unread_s += found_s * unread_bytes / max(read_bytes, 1)

    def _by_size_s(self, piece: Piece) -> float:
        """The length of a piece whose length is unknown, estimated by the bit rate of the others."""
        sizes = [sum(map(size_of, some.parts)) for some in self._pieces]
        mine = sum(map(size_of, piece.parts))
        return self.found_s * mine / max(sum(sizes) - mine, 1)


def _from(blocks: Iterator[Block], start_s: float) -> Iterator[Block]:
    """The blocks without their first `start_s` seconds."""
    at_s = 0.0
    for rate_hz, samples in blocks:
        skipped = min(len(samples), max(0, round((start_s - at_s) * rate_hz)))
        at_s += len(samples) / rate_hz
        if skipped < len(samples):
            yield rate_hz, samples[skipped:]


def _checked(reading: _Reading) -> Blocks:
    """The blocks of a reading. Raises DecodeError for invalid values, and at the end if too much is missing."""
    for block in reading.blocks():
        if not len(block):
            continue
        peak = float(np.abs(block).max())
        if not np.isfinite(peak):
            at_s = reading.found_s
            raise DecodeError("not_finite", f"some samples are NaN or infinite, at about {at_s:.1f} s")
        if peak > MAX_AMPLITUDE:
            at_s = reading.found_s
            raise DecodeError("out_of_range", f"samples reach {peak:.3g} at about {at_s:.1f} s; full scale is 1")
        yield block
    said = f" ({'; '.join(dict.fromkeys(reading.complaints))})" if reading.complaints else ""
    if not reading.found_s:
        raise DecodeError("no_samples", f"the file has an audio header, but no audio can be decoded from it{said}")
    whole_s = reading.found_s + reading.missing_s
    if reading.found_s < MIN_SHARE * whole_s:
        problem = f"only {reading.found_s:.1f} s of {whole_s:.1f} s can be read"
        raise DecodeError("truncated", f"truncated or damaged: {problem}{said}")
    return reading.missing_s + reading.unread_s
