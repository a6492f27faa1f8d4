"""Kinds of sampling that producers use, beyond the textbook ones.

A kind draws a passage of a recording and changes it. The result is a list of pieces, each with its span in the
reference. Effects come from pedalboard, not from the augmentation code of training, so that benchmarks measure effects
that no model was trained on.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from asid_core.evaluation.truth import Occurrence
from asid_core.synthetic import studio
from asid_core.synthetic.effects import Wave, faded
from asid_core.synthetic.synthesis import find_cut


@dataclass(frozen=True)
class Piece:
    """A waveform [n], and the span of the reference (seconds) that it comes from."""

    wave: Wave
    reference_start_s: float
    reference_end_s: float


@dataclass(frozen=True)
class Sampling:
    """A sample as used in a query: pieces in playing order, repetitions, and the changes that were made."""

    pieces: tuple[Piece, ...]
    tempo_ratio: float
    pitch_semitones: float
    background_db: float  # level of the background relative to the sample
    repeats: int = 3
    gap_s: float = 0.0  # background alone after each repeat
    backwards: bool = False

    def laid_out(self, rate_hz: int) -> tuple[Wave, list[Occurrence]]:
        """All repeats as one waveform [n], and the occurrence of each piece in it."""
        waves: list[Wave] = []
        occurrences: list[Occurrence] = []
        at = 0
        for _ in range(self.repeats):
            for piece in self.pieces:
                start_s, at = at / rate_hz, at + len(piece.wave)
                occurrences.append(Occurrence(start_s, at / rate_hz, piece.reference_start_s, piece.reference_end_s))
                waves.append(piece.wave)
            gap = np.zeros(int(self.gap_s * rate_hz), np.float32)
            waves.append(gap)
            at += len(gap)
        return np.concatenate(waves), occurrences


Kind = Callable[[Wave, int, np.random.Generator], Sampling]


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(math.log(low), math.log(high))))


def _passage(track: Wave, rate_hz: int, rng: np.random.Generator, seconds: float) -> Piece:
    """A passage of about `seconds` that is not silent."""
    length = min(int(seconds * rate_hz), len(track))
    start = find_cut(track, length, rng, rate_hz) or 0
    return Piece(track[start : start + length].copy(), start / rate_hz, (start + length) / rate_hz)


def _changed(piece: Piece, rate_hz: int, tempo_ratio: float, semitones: float) -> Piece:
    return replace(piece, wave=faded(studio.stretched(piece.wave, rate_hz, tempo_ratio, semitones), rate_hz))


def _plain(
    track: Wave, rate_hz: int, rng: np.random.Generator, seconds: float, most_semitones: float = 2.0
) -> Sampling:
    """A passage shifted by at most `most_semitones`, with a tempo within 10 %; background at -6 or 0 dB."""
    tempo_ratio, semitones = _log_uniform(rng, 0.9, 1.1), float(rng.uniform(-most_semitones, most_semitones))
    piece = _changed(_passage(track, rate_hz, rng, seconds), rate_hz, tempo_ratio, semitones)
    return Sampling((piece,), tempo_ratio, semitones, float(rng.choice([-6.0, 0.0])))


def turntable(track: Wave, rate_hz: int, rng: np.random.Generator) -> Sampling:
    """Pitch and tempo changed together by a rate of 0.67 to 1.5, that is, up to 7 semitones either way."""
    rate = _log_uniform(rng, 0.67, 1.5)
    piece = _passage(track, rate_hz, rng, rng.uniform(4, 9))
    wave = faded(studio.resampled(piece.wave, rate), rate_hz)
    return Sampling((replace(piece, wave=wave),), rate, 12 * math.log2(rate), float(rng.choice([-6.0, 0.0])))


def wide(track: Wave, rate_hz: int, rng: np.random.Generator) -> Sampling:
    """Pitch by 5 to 7 semitones and, independently, tempo 0.62 to 0.7 or 1.42 to 1.6."""
    semitones = float(rng.choice([-1, 1]) * rng.uniform(5, 7))
    tempo_ratio = _log_uniform(rng, 0.62, 0.7) if rng.random() < 0.5 else _log_uniform(rng, 1.42, 1.6)
    piece = _changed(_passage(track, rate_hz, rng, rng.uniform(5, 9)), rate_hz, tempo_ratio, semitones)
    return Sampling((piece,), tempo_ratio, semitones, float(rng.choice([-6.0, 0.0])))


def short(track: Wave, rate_hz: int, rng: np.random.Generator) -> Sampling:
    """A sample of 1.2 to 2.8 s, played six times, with gaps."""
    return replace(_plain(track, rate_hz, rng, rng.uniform(1.2, 2.8)), repeats=6, gap_s=float(rng.uniform(0.5, 2.5)))


def buried(track: Wave, rate_hz: int, rng: np.random.Generator) -> Sampling:
    """The background is 6 dB louder than the sample."""
    return replace(_plain(track, rate_hz, rng, rng.uniform(4, 9)), background_db=6.0)


def chopped(track: Wave, rate_hz: int, rng: np.random.Generator) -> Sampling:
    """6 s cut into eight pieces, which are played in another order."""
    sampling = _plain(track, rate_hz, rng, 6.0)
    (whole,) = sampling.pieces
    edges = np.linspace(0, len(whole.wave), 9).astype(int)
    pieces = []
    for start, stop in zip(edges[:-1], edges[1:], strict=True):
        places = whole.reference_start_s + np.array([start, stop]) / rate_hz * sampling.tempo_ratio
        pieces.append(Piece(faded(whole.wave[start:stop], rate_hz), float(places[0]), float(places[1])))
    return replace(sampling, pieces=tuple(pieces[i] for i in rng.permutation(len(pieces))))


def stem_drums(track: Wave, rate_hz: int, rng: np.random.Generator) -> Sampling:
    """Only the percussive part is used."""
    return _part_of(track, rate_hz, rng, percussive=True)


def stem_melody(track: Wave, rate_hz: int, rng: np.random.Generator) -> Sampling:
    """Only the harmonic part is used."""
    return _part_of(track, rate_hz, rng, percussive=False)


def _part_of(track: Wave, rate_hz: int, rng: np.random.Generator, percussive: bool) -> Sampling:
    """A passage in which the wanted part is clearly audible: of up to eight, the one with the largest share of it."""
    best, share = None, -1.0
    for _ in range(8):
        piece = _passage(track, rate_hz, rng, rng.uniform(4, 9))
        part = studio.harmonic_percussive(piece.wave)[int(percussive)]
        this = float(np.square(part).sum() / max(float(np.square(piece.wave).sum()), 1e-9))
        if this > share:
            best, share = replace(piece, wave=part), this
        if share > 0.2:
            break
    assert best is not None
    tempo_ratio, semitones = _log_uniform(rng, 0.9, 1.1), float(rng.uniform(-2, 2))
    return Sampling(
        (_changed(best, rate_hz, tempo_ratio, semitones),), tempo_ratio, semitones, float(rng.choice([-6, 0]))
    )


def lofi(track: Wave, rate_hz: int, rng: np.random.Generator) -> Sampling:
    """Distortion or bit crushing, band limits, chorus, reverb and pumping; background equally loud."""
    sampling = _plain(track, rate_hz, rng, rng.uniform(4, 9), most_semitones=3.0)
    (piece,) = sampling.pieces
    wave = faded(studio.degraded(piece.wave, rate_hz, rng), rate_hz)
    return replace(sampling, pieces=(replace(piece, wave=wave),), background_db=0.0)


def reversed_(track: Wave, rate_hz: int, rng: np.random.Generator) -> Sampling:
    """Played backwards."""
    sampling = _plain(track, rate_hz, rng, rng.uniform(4, 9))
    (piece,) = sampling.pieces
    return replace(sampling, pieces=(replace(piece, wave=piece.wave[::-1].copy()),), backwards=True)


def drift(track: Wave, rate_hz: int, rng: np.random.Generator) -> Sampling:
    """The speed drifts by 2 % over seconds, as on tape."""
    sampling = _plain(track, rate_hz, rng, rng.uniform(6, 10))
    (piece,) = sampling.pieces
    wave = studio.wandering(piece.wave, rate_hz, 0.02, float(rng.uniform(3, 6)), float(rng.uniform(0, 2 * math.pi)))
    lasts_s = len(wave) / rate_hz * sampling.tempo_ratio
    mean_ratio = (piece.reference_end_s - piece.reference_start_s) / lasts_s * sampling.tempo_ratio
    return replace(sampling, pieces=(replace(piece, wave=wave),), tempo_ratio=mean_ratio)


WILD: dict[str, Kind] = {
    "turntable": turntable,
    "wide": wide,
    "short": short,
    "buried": buried,
    "chopped": chopped,
    "stem_drums": stem_drums,
    "stem_melody": stem_melody,
    "lofi": lofi,
    "reversed": reversed_,
    "drift": drift,
}
