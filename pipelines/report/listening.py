"""Sound and pictures of one place: both sides equally loud, the reference as the query plays it, and what they share.

Both snippets lie on the place's line, so the page can play them in step.
"""

from __future__ import annotations

import base64
import functools
import io
import math
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torchaudio.functional as F

from asid_core.config import SAMPLE_RATE_HZ, LogMelConfig
from asid_core.signal.log_mel import LogMelFrontEnd
from asid_core.signal.pcm import from_pcm
from asid_core.synthetic.effects import stretch_and_shift
from pipelines.report.snippets import PlaceToHear, Snippet

Wave = npt.NDArray[np.float32]
LOUDNESS_LUFS = -20.0  # of each side, ITU-R BS.1770-4
PEAK = 0.95  # if a side would exceed it, all sides of the place are attenuated
MOST_GAIN_DB = 30.0
BLOCK_SAMPLES = round(0.4 * SAMPLE_RATE_HZ)  # BS.1770 measures over such blocks
RANGE_DB = 70.0  # of a picture; cells further below its maximum are black
AUDIBLE_DB = 45.0  # cells of the reference within this range of its maximum are compared with the query
SAME_DB = 4.0  # largest difference between two cells that match
VOCODER_FFT = 1024  # 64 ms: both sides stay in step within 15 ms
TURNTABLE_SEMITONES = 0.25  # largest difference between the pitch and the one that the tempo alone would give
MOST_PARTS = 200  # largest denominator of a resampling ratio: the error is at most 0.2 ms after 8 s
UNCHANGED_TEMPO, UNCHANGED_SEMITONES = 5e-4, 0.05


def media(place: PlaceToHear) -> dict[str, Any]:
    """The argument of the page's `media`: for each side `mp3` (base64) and its picture; for both `matched`, `shared`.

    matched: the reference at the query's pitch and tempo, with as many samples as the query; null if that changes
    nothing.
    """
    query, reference = from_pcm(place.query.pcm), from_pcm(place.reference.pcm)
    heard = reference[::-1].copy() if place.is_reversed else reference
    matched = as_query_plays_it(heard, len(query), place.tempo_ratio, place.pitch_semitones)
    voices = equally_loud({"query": query, "reference": reference, "matched": matched})
    sides = {"query": place.query, "reference": place.reference}
    values: dict[str, Any] = {side: {"mp3": mp3(voices[side]), **picture(sides[side])} for side in sides}
    values["matched"] = None if is_unchanged(place) else {"mp3": mp3(voices["matched"])}
    return values | {"shared": shared(query, matched)}


def is_unchanged(place: PlaceToHear) -> bool:
    """Whether the query plays the reference unchanged."""
    changed = abs(place.tempo_ratio - 1) >= UNCHANGED_TEMPO or abs(place.pitch_semitones) >= UNCHANGED_SEMITONES
    return not (changed or place.is_reversed)


def as_query_plays_it(reference: Wave, samples: int, tempo_ratio: float, semitones: float) -> Wave:
    """The reference `tempo_ratio` times as fast and `semitones` higher: [samples].

    Resamples if pitch and tempo change together, as on a turntable; otherwise also uses a phase vocoder.
    """
    if abs(semitones - 12 * math.log2(tempo_ratio)) < TURNTABLE_SEMITONES:
        ratio = Fraction(tempo_ratio).limit_denominator(MOST_PARTS)
        changed = F.resample(torch.from_numpy(reference), ratio.numerator, ratio.denominator).numpy()
    else:
        changed = stretch_and_shift(reference, tempo_ratio, semitones, VOCODER_FFT)
    return np.pad(changed[:samples], (0, max(0, samples - len(changed))))


def equally_loud(voices: dict[str, Wave]) -> dict[str, Wave]:
    """All voices at LOUDNESS_LUFS; attenuated by a common factor if one would exceed PEAK."""
    loud = {name: wave * np.float32(10 ** (gain_db(wave) / 20)) for name, wave in voices.items()}
    softer = min(1.0, PEAK / max(float(np.abs(wave).max(initial=1e-9)) for wave in loud.values()))
    return {name: wave * np.float32(softer) for name, wave in loud.items()}


def gain_db(wave: Wave) -> float:
    """The gain that brings a wave to LOUDNESS_LUFS: at most MOST_GAIN_DB, and 0 for silence."""
    enough = wave if len(wave) >= BLOCK_SAMPLES else np.resize(wave, BLOCK_SAMPLES)
    peak = float(np.abs(enough).max(initial=0.0))
    if peak == 0:
        return 0.0
    quiet = torch.from_numpy(enough * np.float32(0.1 / peak))  # torchaudio's filters clip what is louder than 1
    loudness = float(F.loudness(quiet[None], SAMPLE_RATE_HZ)) + 20 * math.log10(peak / 0.1)
    return min(LOUDNESS_LUFS - loudness, MOST_GAIN_DB) if math.isfinite(loudness) else 0.0


def mp3(wave: Wave) -> str:
    """The wave as MP3 in base64, about 3 kB per second. Every browser decodes MP3."""
    import soundfile

    sink = io.BytesIO()
    soundfile.write(sink, wave, SAMPLE_RATE_HZ, format="MP3")
    return base64.b64encode(sink.getvalue()).decode()


@functools.cache
def _front_end() -> LogMelFrontEnd:
    return LogMelFrontEnd(LogMelConfig())


@torch.no_grad()
def mel_db(wave: Wave) -> npt.NDArray[np.float32]:
    """Mel spectrogram [bins, frames] in decibels."""
    frames: npt.NDArray[np.float32] = _front_end()(torch.from_numpy(np.ascontiguousarray(wave))[None])[0].numpy()
    return frames


def picture(snippet: Snippet) -> dict[str, Any]:
    """Mel spectrogram [bins, frames] of 0..255 (base64, rows from the lowest band), and its position in the track."""
    mel = mel_db(from_pcm(snippet.pcm))
    shades = np.clip((mel - mel.max() + RANGE_DB) / RANGE_DB, 0, 1) * 255
    return {
        "start": round(snippet.start_s, 3),
        "seconds": round(len(snippet.pcm) / SAMPLE_RATE_HZ, 3),
        "bins": mel.shape[0],
        "frames": mel.shape[1],
        "mel": base64.b64encode(shades.astype(np.uint8).tobytes()).decode(),
    }


def shared(query: Wave, matched: Wave) -> dict[str, Any]:
    """The matching cells of both pictures: `bits` (packed, base64), and their `share` of the audible cells.

    An audible cell of the reference matches if the query has the same level within SAME_DB, after the most common gain.
    """
    same, audible = matching_cells(mel_db(query), mel_db(matched))
    share = float(same.sum() / max(1, audible.sum()))
    return {"bits": base64.b64encode(np.packbits(same).tobytes()).decode(), "share": round(share, 3)}


def matching_cells(query_db: npt.NDArray[np.float32], matched_db: npt.NDArray[np.float32]) -> tuple[Any, Any]:
    """Two masks [bins, frames]: cells that match, and audible cells of the reference."""
    audible = matched_db > matched_db.max() - AUDIBLE_DB
    difference = query_db - matched_db
    counts, edges = np.histogram(difference[audible], bins=np.arange(-60.5, 61.5))
    # other music makes some cells louder by any amount; the undisturbed cells agree on one gain
    gain = edges[counts.argmax()] + 0.5
    return audible & (np.abs(difference - gain) <= SAME_DB), audible
