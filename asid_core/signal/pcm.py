"""Converts to int16 PCM, and cuts tracks into segments: adjacent cores, each with margins of its neighbours' audio."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

SCALE = 32_768


@dataclass(frozen=True)
class PcmSegment:
    """A segment of a track as it is stored. `pcm` is int16 [lead_samples + core_samples + tail]."""

    index: int
    start_sample: int  # of the core, in the track
    lead_samples: int
    core_samples: int
    pcm: np.ndarray


def to_pcm(samples: np.ndarray) -> np.ndarray:
    """float32 [n] in -1..1 to int16 [n], rounded and clipped. The inverse of `from_pcm`."""
    return np.clip(np.rint(samples * np.float32(SCALE)), -SCALE, SCALE - 1).astype("<i2")


def from_pcm(pcm: bytes | np.ndarray) -> np.ndarray:
    """int16 little-endian PCM (bytes or array) to float32 [n] in -1..1."""
    values = pcm if isinstance(pcm, np.ndarray) else np.frombuffer(pcm, dtype="<i2")
    return values.astype(np.float32) / np.float32(SCALE)


def cut(blocks: Iterable[np.ndarray], core_samples: int, margin_samples: int) -> Iterator[PcmSegment]:
    """Cut a track, given as blocks of int16 [n_i], into segments.

    Core i holds samples [i * core_samples, (i + 1) * core_samples) of the track. Margins extend it by `margin_samples`
    on both sides, or to the track's ends. Holds one segment and one block in memory.
    """
    pieces: list[np.ndarray] = []
    base = held = index = 0  # base: the position of pieces[0][0] in the track

    def make(signal: np.ndarray, core: int) -> PcmSegment:
        start = index * core_samples
        lead = min(margin_samples, start)
        first = start - lead - base
        return PcmSegment(index, start, lead, core, signal[first : first + lead + core + margin_samples])

    for block in blocks:
        pieces.append(block)
        held += len(block)
        while base + held >= (index + 1) * core_samples + margin_samples:
            signal = np.concatenate(pieces)
            yield make(signal, core_samples)
            index += 1
            drop = max(0, index * core_samples - margin_samples - base)
            pieces, base, held = [signal[drop:]], base + drop, held - drop
    signal = np.concatenate(pieces) if pieces else np.zeros(0, np.int16)
    while (core := min(core_samples, base + held - index * core_samples)) > 0:
        yield make(signal, core)
        index += 1
