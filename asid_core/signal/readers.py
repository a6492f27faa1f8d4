"""Reads a piece of a file with libsndfile or FFmpeg, behind one function."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

from asid_core.signal.byte_ranges import ByteRanges
from asid_core.signal.formats import FFMPEG_FORMATS
from asid_core.signal.pieces import Piece

BLOCK_FRAMES = 4096  # 0.1 s; small, because libsndfile loses the whole block in which a file is damaged
IGNORED_BYTES = 1 << 12  # a decoder may leave this much: padding, or a tag
MAX_COMPLAINTS = 3
# formats for which FFmpeg only guesses the duration from the bit rate
GUESSED_DURATIONS = ("aac", "mp3", "ac3", "eac3", "amr", "mpegts")

Block = tuple[int, np.ndarray]  # rate_hz, float32 [n, channels]


class CannotOpen(Exception):
    """A decoder cannot open a piece. The message is the decoder's."""


@dataclass
class Opened:
    """A piece opened by a decoder. Rate and channels may change between `blocks`."""

    rate_hz: int
    channels: int
    claim_s: float | None  # duration according to the header
    blocks: Iterator[Block]
    source: ByteRanges
    complaints: list[str] = field(default_factory=list)
    undecodable_bytes: int = 0

    def left_bytes(self) -> int:
        """Number of bytes that were not read or not decoded; 0 if there are few."""
        left = self.source.left_bytes + self.undecodable_bytes
        return left if left > IGNORED_BYTES else 0


def open_piece(stack: contextlib.ExitStack, file: BinaryIO, piece: Piece) -> Opened:
    """Open a piece with the first of its decoders that can. Raises CannotOpen with the messages of all of them."""
    said = []
    for decoder in piece.decoders:
        source = ByteRanges(file, piece.parts)
        try:
            opened = _open_soundfile(stack, source) if decoder == "libsndfile" else _open_ffmpeg(stack, source, piece)
        except CannotOpen as problem:
            said.append(f"{decoder}: {problem}")
            continue
        opened.complaints += said
        return opened
    raise CannotOpen("; ".join(said))


def _open_soundfile(stack: contextlib.ExitStack, source: ByteRanges) -> Opened:
    import soundfile

    try:
        file = stack.enter_context(soundfile.SoundFile(source))
    except (soundfile.SoundFileError, TypeError, ValueError) as error:  # TypeError: headerless formats
        raise CannotOpen(_words(error)) from None
    known = 0 < file.frames < 1 << 40
    opened = Opened(file.samplerate, file.channels, file.frames / file.samplerate if known else None, iter(()), source)
    opened.blocks = _read_soundfile(file, opened)
    return opened


def _read_soundfile(file: Any, opened: Opened) -> Iterator[Block]:
    import soundfile

    while True:
        try:
            block = file.read(BLOCK_FRAMES, dtype="float32", always_2d=True)
        except soundfile.SoundFileError as error:
            opened.complaints.append(f"libsndfile: {_words(error)}")
            return  # damaged from here on; the caller decides whether enough was read
        if not len(block):
            return
        yield file.samplerate, block


def _open_ffmpeg(stack: contextlib.ExitStack, source: ByteRanges, piece: Piece) -> Opened:
    import av

    av.logging.set_level(None)
    options = {"format_whitelist": FFMPEG_FORMATS, "protocol_whitelist": ""}
    try:
        container = stack.enter_context(
            av.open(source, format=piece.format, container_options=options, metadata_errors="replace")
        )
    except (av.FFmpegError, ValueError) as error:
        raise CannotOpen(_words(error)) from None
    if not container.streams.audio:
        raise CannotOpen("there is no audio in the file")
    stream = container.streams.audio[0]
    codec = stream.codec_context
    if codec is None or not codec.sample_rate:
        raise CannotOpen("unknown codec or damaged header")
    opened = Opened(codec.sample_rate, codec.channels, _claim_s(container, stream), iter(()), source)
    opened.blocks = _read_ffmpeg(container, stream, opened, counts=not piece.is_unknown)
    return opened


def _claim_s(container: Any, stream: Any) -> float | None:
    """The duration in the header; None if FFmpeg only guesses it."""
    if container.format.name in GUESSED_DURATIONS:
        return None
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    if "matroska" in container.format.name and container.duration and not container.streams.video:
        return float(container.duration) / 1e6
    return None


def _read_ffmpeg(container: Any, stream: Any, opened: Opened, counts: bool) -> Iterator[Block]:
    """counts: whether what cannot be decoded counts as lost. What stands before the first frame never does."""
    import av

    packets = container.demux(stream)
    begun = False
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            break
        except av.FFmpegError as error:
            opened.complaints.append(f"ffmpeg: {_words(error)}")
            return
        try:
            frames = packet.decode()
        except av.FFmpegError as error:
            if len(opened.complaints) < MAX_COMPLAINTS:  # the caller decides whether too much is missing
                opened.complaints.append(f"ffmpeg: {_words(error)}")
            opened.undecodable_bytes += packet.size if begun and counts else 0
            continue
        for frame in frames:
            begun = True
            yield frame.sample_rate, _samples(frame)


def _samples(frame: Any) -> np.ndarray:
    """An FFmpeg frame of any sample format, as float32 [n, channels]."""
    values = frame.to_ndarray()
    values = values.T if frame.format.is_planar else values.reshape(-1, len(frame.layout.channels))
    if values.dtype == np.uint8:
        return np.asarray((values.astype(np.float32) - 128) / 128)
    if np.issubdtype(values.dtype, np.integer):
        return np.asarray(values / (float(np.iinfo(values.dtype).max) + 1), dtype=np.float32)
    return np.asarray(values, dtype=np.float32)


def resampled(blocks: Iterable[np.ndarray], rate_hz: int, target_hz: int) -> Iterator[np.ndarray]:
    """Resample mono float32 blocks [n_i] with FFmpeg, so that the decoder process need not import torch."""
    import av

    resampler = av.AudioResampler(format="fltp", layout="mono", rate=target_hz)
    for block in blocks:
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block[None]), format="fltp", layout="mono")
        frame.sample_rate = rate_hz
        yield from (out.to_ndarray()[0] for out in resampler.resample(frame))
    yield from (out.to_ndarray()[0] for out in resampler.resample(None))


def _words(error: Exception) -> str:
    """The decoder's message, without the representation of the file object."""
    text = str(getattr(error, "error_string", "") or getattr(error, "strerror", "") or error)
    return " ".join(text.split()).rstrip(".") or type(error).__name__
