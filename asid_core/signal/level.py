"""Measures how loud a track is, and the gain for a soft one: front ends treat levels below -80 dB as silence."""

from __future__ import annotations

import contextlib
import logging
import math
import tempfile
from collections.abc import Iterable, Iterator
from typing import IO

import numpy as np
import torch

from asid_core.config import SAMPLE_RATE_HZ, SegmentConfig
from asid_core.plain_text import shown
from asid_core.signal.decibels import power_db
from asid_core.signal.decode import Blocks, DecodeError, open_native
from asid_core.signal.pcm import SCALE, from_pcm, to_pcm
from asid_core.signal.resample import resample_blocks

log = logging.getLogger(__name__)

SOFT_DB = -35.0  # softer tracks are raised to this level; others are unchanged
MIN_GAIN_DB = 0.1
BLOCK_BYTES = 1 << 19
PEAK_STEP = 7  # peaks are measured on every seventh sample
CLIPPED_SHARE = 1e-3  # share of samples that the gain may clip, so that a click does not keep a track soft


def is_soft(level_db: float) -> bool:
    """Whether a track of this RMS is to be raised, as far as its peaks allow."""
    return level_db < SOFT_DB - MIN_GAIN_DB


def was_not_raised(content_hash: str, level_db: float | None) -> bool:
    """Whether a track is soft, and was segmented by an asid that raised none: nothing is found in it."""
    # the stored level is rounded: a track at the limit must not be read again for ever
    return level_db is not None and is_soft(level_db + MIN_GAIN_DB) and "+" not in content_hash


class Level:
    """Measures length, RMS, peaks and missing audio of a track while its blocks pass through."""

    def __init__(self, max_track_s: float) -> None:
        self.samples = 0
        self.missing_s = 0.0
        self._energy = 0.0
        self._max_track_s = max_track_s
        self._octaves = np.zeros(17, np.int64)  # histogram of magnitudes: 0, below 2, 4, 8, ... 65,536

    def native(self, blocks: Blocks) -> Iterator[np.ndarray]:
        """Pass decoded blocks on unchanged, and note the missing seconds when they end."""
        self.missing_s = (yield from blocks) or 0.0

    def watch(self, blocks: Iterable[np.ndarray], gain_db: float = 0.0) -> Iterator[np.ndarray]:
        """Measure float blocks [n_i] at 16 kHz, and yield them as int16 PCM raised by `gain_db`.

        Measures without the gain. Raises DecodeError if the track is too long.
        """
        gain = np.float32(10 ** (gain_db / 20))
        for block in blocks:
            pcm = to_pcm(block)
            self.samples += len(pcm)
            self._energy += float(np.square(pcm, dtype=np.float64).sum())
            exponents = np.frexp(np.abs(pcm[::PEAK_STEP].astype(np.float32)))[1]
            self._octaves += np.bincount(exponents, minlength=len(self._octaves))
            self.check_length(self.samples / SAMPLE_RATE_HZ)
            yield to_pcm(block * gain) if gain_db else pcm

    def check_length(self, seconds: float) -> None:
        """Raise DecodeError for a track longer than `segment.max_track_s`."""
        if seconds > self._max_track_s:
            limit = f"{self._max_track_s / 3600:g} h, which segment.max_track_s allows"
            raise DecodeError("too_long", f"{seconds / 3600:.1f} h is longer than the {limit}")

    @property
    def db(self) -> float:
        """RMS level in dBFS; FLOOR_DB for digital silence."""
        mean_square = self._energy / max(self.samples, 1) / SCALE**2
        return float(power_db(torch.tensor(mean_square, dtype=torch.float64)))

    @property
    def gain_db(self) -> float:
        """The gain that raises a soft track to SOFT_DB, limited by its peaks; 0 for one that is loud enough."""
        above = self._octaves[::-1].cumsum()[::-1]  # number of samples in each octave or a higher one
        loud = int((above > CLIPPED_SHARE * self._octaves.sum()).nonzero()[0].max(initial=0))
        room_db = 20 * math.log10(SCALE / 2**loud)
        gain_db = min(SOFT_DB - self.db, room_db)
        return gain_db if gain_db >= MIN_GAIN_DB else 0.0

    def audio_hash(self, file_hash: str) -> str:
        """`content_hash` of the track: its file's, and of a soft one by how much it was raised.

        A soft track without the second part is of an asid that raised none.
        """
        return f"{file_hash}+{self.gain_db:.1f}dB" if is_soft(self.db) else file_hash

    def judge(self, config: SegmentConfig) -> None:
        """Raise DecodeError for a track that is too short or silent."""
        seconds = self.samples / SAMPLE_RATE_HZ
        if seconds < config.min_track_s:
            raise DecodeError(
                "too_short", f"only {seconds:.2f} s of audio; at least {config.min_track_s:g} s are needed"
            )
        if self.db < config.silence_db:
            raise DecodeError("silent", f"silent: {self.db:.0f} dB on average, below {config.silence_db:g} dB")


def read_levelled(path: str, config: SegmentConfig) -> np.ndarray:
    """A whole file, float32 [n] at 16 kHz, as `asid segment` stores it. Raises DecodeError."""
    with levelled(path, config.max_track_s) as (level, blocks):
        level.judge(config)
        if level.missing_s:
            log.warning("%s: at least %.1f s are missing or damaged; the rest is used", shown(path), level.missing_s)
        return from_pcm(np.concatenate(list(blocks)))


@contextlib.contextmanager
def levelled(path: str, max_track_s: float = math.inf) -> Iterator[tuple[Level, Iterator[np.ndarray]]]:
    """The level of a file, and its int16 blocks [n_i] at 16 kHz as `asid segment` stores them.

    A file is decoded once, into a temporary file, and a second time only if it is too soft. For a truncated file, the
    level is that of what is there, and the blocks end with the error. Raises DecodeError, as do the blocks.
    """
    level, cut_off = Level(max_track_s), None
    with tempfile.TemporaryFile(prefix="asid-") as kept:
        try:
            with open_native(path) as (info, blocks):
                for pcm in level.watch(resample_blocks(level.native(blocks), info.rate_hz)):
                    kept.write(pcm.tobytes())
        except DecodeError as error:
            if error.error_type != "truncated":
                raise
            cut_off = error
        yield level, _raised(path, level.gain_db) if level.gain_db else _kept(kept, cut_off)


def _raised(path: str, gain_db: float) -> Iterator[np.ndarray]:
    level = Level(math.inf)
    with open_native(path) as (info, blocks):
        yield from level.watch(resample_blocks(level.native(blocks), info.rate_hz), gain_db)


def _kept(file: IO[bytes], cut_off: DecodeError | None) -> Iterator[np.ndarray]:
    file.seek(0)
    while data := file.read(BLOCK_BYTES):
        yield np.frombuffer(data, "<i2")
    if cut_off is not None:
        raise cut_off
