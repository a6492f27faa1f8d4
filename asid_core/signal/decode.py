"""Recordings to samples: soundfile first (wav, flac, ogg, mp3, aiff), then FFmpeg through PyAV (m4a, opus, wma, ...).

The content decides, never the extension. Everything is streamed: a 10 h file never lies whole in memory, and a header
that claims 2^31 samples or 10^6 channels costs nothing.

A file that ends early is used if at least 90 % of what its header claims is there, else refused: a catalogue of
halves gives spans that nobody can check. A wav's or an ogg's own claim is not believed (writers to a pipe leave it
wrong): what is there counts.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from asid_core.signal.resample import resample_blocks

MIN_SHARE = 0.9
MAX_CHANNELS = 64
MIN_RATE_HZ, MAX_RATE_HZ = 1_000, 768_000
# frames read at a time. Where a file breaks, libsndfile loses the whole read: 0.1 s this way; 20 us a call do not show
BLOCK_FRAMES = 4096
MAX_AMPLITUDE = 100.0  # float files that hold integers reach 32,768; a hot master stays below 4

# FFmpeg also reads playlists, subtitles and image lists, some of which open other files or URLs
FFMPEG_FORMATS = (
    "aac,ac3,aiff,amr,ape,asf,au,caf,eac3,flac,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mp3,mpegts,ogg,tta,w64,wav,wv"
)


class DecodeError(Exception):
    """A recording that cannot be used. `error_type` is one word for machines, `message` plain words for people."""

    def __init__(self, error_type: str, message: str) -> None:
        super().__init__(error_type, message)
        self.error_type = error_type
        self.message = message

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True)
class AudioInfo:
    """What a file's header says. duration_s is None where it does not say."""

    rate_hz: int
    channels: int
    duration_s: float | None


def probe(path: str) -> AudioInfo:
    """Read only the header. Raises DecodeError."""
    with open_native(path) as (info, _):
        return info


def decode(path: str) -> Iterator[np.ndarray]:
    """Mono float32 blocks [n_i] at 16 kHz, channels averaged. Raises DecodeError."""
    with open_native(path) as (info, blocks):
        yield from resample_blocks(blocks, info.rate_hz)


@contextlib.contextmanager
def open_native(path: str) -> Iterator[tuple[AudioInfo, Iterator[np.ndarray]]]:
    """The header, and mono float32 blocks at the file's own rate. Raises DecodeError, the blocks too."""
    _check_readable(path)
    import soundfile

    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(soundfile.SoundFile(path))
        except (soundfile.SoundFileError, TypeError):  # TypeError: headerless formats, which it tells by extension
            info, blocks = _open_ffmpeg(stack, path)
        else:
            known = 0 < file.frames < 1 << 60
            info = AudioInfo(file.samplerate, file.channels, file.frames / file.samplerate if known else None)
            blocks = _read_soundfile(file)
        _check_plausible(info)
        yield info, _checked(info, blocks)


def _check_readable(path: str) -> None:
    try:
        with open(path, "rb") as file:
            if not file.read(1):
                raise DecodeError("empty", "the file is empty (0 bytes)")
    except OSError as error:
        raise unreadable(error) from None


def unreadable(error: OSError) -> DecodeError:
    """What a file that cannot even be opened is refused with."""
    if isinstance(error, FileNotFoundError):
        return DecodeError("vanished", "the file is not there (any more)")
    if isinstance(error, IsADirectoryError):
        return DecodeError("folder", "this is a folder, not a file")
    if isinstance(error, PermissionError):
        return DecodeError("unreadable", "no permission to read the file")
    return DecodeError("unreadable", f"the file cannot be read: {error.strerror or error}")


def _check_plausible(info: AudioInfo) -> None:
    if not 1 <= info.channels <= MAX_CHANNELS:
        raise DecodeError("header", f"the header claims {info.channels} channels; 1 to {MAX_CHANNELS} can be used")
    if not MIN_RATE_HZ <= info.rate_hz <= MAX_RATE_HZ:
        raise DecodeError("header", f"the header claims a sample rate of {info.rate_hz} Hz, which no recording has")


def _read_soundfile(file: Any) -> Iterator[np.ndarray]:
    import soundfile

    while True:
        try:
            block = file.read(BLOCK_FRAMES, dtype="float32", always_2d=True)
        except soundfile.SoundFileError:
            return  # broken from here on: whether enough came before is judged in _checked
        if not len(block):
            return
        yield block.mean(axis=1)


def _open_ffmpeg(stack: contextlib.ExitStack, path: str) -> tuple[AudioInfo, Iterator[np.ndarray]]:
    import av

    av.logging.set_level(None)
    options = {"format_whitelist": FFMPEG_FORMATS, "protocol_whitelist": "file"}
    try:
        container = stack.enter_context(av.open(path, container_options=options, metadata_errors="replace"))
    except (av.FFmpegError, ValueError):
        message = "this is not audio that can be read: neither libsndfile nor FFmpeg knows the format, or it is damaged"
        raise DecodeError("not_audio", message) from None
    if not container.streams.audio:
        raise DecodeError("not_audio", "there is no audio in the file")
    stream = container.streams.audio[0]
    if stream.codec_context is None or not stream.codec_context.sample_rate:
        raise DecodeError("not_audio", "the audio in the file is of a kind that FFmpeg cannot decode, or it is damaged")
    duration_s = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else None
    # of raw aac FFmpeg only guesses the duration from the bit rate
    if container.format.name == "aac":
        duration_s = None
    info = AudioInfo(stream.codec_context.sample_rate, stream.codec_context.channels, duration_s)
    return info, _read_ffmpeg(container, stream, info.rate_hz)


def _read_ffmpeg(container: Any, stream: Any, rate_hz: int) -> Iterator[np.ndarray]:
    import av

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.FFmpegError):
            return
        try:
            frames = packet.decode()
        except av.FFmpegError:
            continue  # one bad packet; whether too many are missing is judged in _checked
        for frame in frames:
            if frame.sample_rate != rate_hz:
                raise DecodeError("header", f"the sample rate changes from {rate_hz} to {frame.sample_rate} Hz inside")
            yield _mono(frame)


def _mono(frame: Any) -> np.ndarray:
    """An FFmpeg frame of any sample format as mono float32 [n]."""
    values = frame.to_ndarray()
    if not frame.format.is_planar:
        values = values.reshape(-1, len(frame.layout.channels)).T
    if values.dtype == np.uint8:
        return ((values.astype(np.float32) - 128) / 128).mean(axis=0)
    scale = float(np.iinfo(values.dtype).max) + 1 if np.issubdtype(values.dtype, np.integer) else 1.0
    return (values.mean(axis=0, dtype=np.float64) / scale).astype(np.float32)


def _checked(info: AudioInfo, blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """The blocks, refused where a value is no sample or too few of them come."""
    count = 0
    for block in blocks:
        if not len(block):
            continue
        peak = float(np.abs(block).max())
        at_s = count / info.rate_hz
        if not np.isfinite(peak):
            raise DecodeError("not_finite", f"the samples are not numbers (NaN or infinite) from {at_s:.1f} s on")
        if peak > MAX_AMPLITUDE:
            raise DecodeError("out_of_range", f"samples reach {peak:.3g} at {at_s:.1f} s, where full scale is 1")
        count += len(block)
        yield block
    found_s = count / info.rate_hz
    if not count:
        raise DecodeError("no_samples", "the file has an audio header, but no audio can be decoded from it")
    if info.duration_s and found_s < MIN_SHARE * info.duration_s:
        message = f"truncated or damaged: only {found_s:.1f} s of the {info.duration_s:.1f} s that its header claims"
        raise DecodeError("truncated", message)
