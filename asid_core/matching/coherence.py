"""Coherence of waveforms: is it the same recording, or another one of the same notes?

Two renderings of one MIDI file have the same notes at the same times, and spectra that may be close, but their
waveforms have nothing in common. What was sampled without a change of pitch and tempo mostly keeps the phases of its
waveform, also under filters and other music; deep vibrato, or reverb without the direct sound, may lose them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torchaudio.functional import resample

from asid_core.config import COHERENT, SAMPLE_RATE_HZ
from asid_core.matching.verify import Verified
from asid_core.signal.windows import cut_or_zero

RATE_HZ = 8000  # of the waveforms that are compared
PASSAGE_S, LAG_S = 2.0, 0.25  # length of a passage of the query, and how far from its place it is looked for
# From, to, and how much a phase correlation in this band counts: in fewer frequencies, more agree by chance
BANDS = ((150.0, 3600.0, 1.0), (150.0, 600.0, 0.5))
# Turntables and tape run a little fast or slow, and a tempo is measured to half a percent, so a place that counts as
# unchanged may be off by a percent. A step of 0.02 % moves the ends of a passage by 0.1 ms at most.
RATES = torch.arange(-50, 51) * 2e-4
UNCHANGED_SEMITONES, UNCHANGED_TEMPO = 0.15, 0.006  # a place with less counts as unchanged
PASSAGES = 3  # of a place, spread over it
MOST_PLACES = 4  # of a pair, strongest first

# Gives the waveform [n] at RATE_HZ from start_s to end_s, zero outside the recording
Waveform = Callable[[float, float], Tensor]


def is_unchanged(found: Verified) -> bool:
    """Whether a place has the pitch and the tempo of the reference."""
    return abs(found.pitch_semitones) <= UNCHANGED_SEMITONES and abs(found.tempo_ratio - 1) <= UNCHANGED_TEMPO


def with_coherence(places: Sequence[Verified], query: Waveform, reference: Waveform) -> list[Verified]:
    """The places of one pair, given strongest first. Those that are unchanged get the best `coherence` of these."""
    heard = [one for one in places if one.is_match and is_unchanged(one)][:MOST_PLACES]
    found = (value for one in heard for value in _along(one, query, reference))
    best = _best_until_coherent(found) if heard else None
    return [replace(one, coherence=best) if is_unchanged(one) else one for one in places]


def _along(found: Verified, query: Waveform, reference: Waveform) -> Iterator[float]:
    """The coherence of passages spread over a place, or of one around its middle if it is shorter than a passage."""
    span = found.span
    room_s = span.query_end_s - span.query_start_s - PASSAGE_S
    count = PASSAGES if room_s > 0 else 1
    for start_s in (span.query_start_s + room_s * (torch.arange(count) + 0.5) / count).tolist():
        there_s = span.reference_at(start_s)
        passage = query(start_s, start_s + PASSAGE_S)
        yield coherence(passage, reference(there_s - LAG_S, there_s + PASSAGE_S + LAG_S))


def _best_until_coherent(values: Iterable[float]) -> float:
    """The greatest value up to the first that is coherent."""
    best = 0.0
    for value in values:
        best = max(best, value)
        if best >= COHERENT:
            break
    return best


def coherence(passage: Tensor, around: Tensor) -> float:
    """The greatest phase correlation of a passage [n] with any place of a longer waveform [m], at any of RATES, 0..1.

    Each frequency of a band counts the same, so that a filter alone does not matter (generalised cross-correlation with
    phase transform: Knapp and Carter 1976). Of BANDS, the best by its weight counts: of a sample without treble, under
    other music, only the low band is left. Unrelated waveforms have 0.03 to 0.1.
    """
    lags, length = len(around) - len(passage) + 1, len(around) + len(passage)
    spectra = torch.fft.rfft(_at_rates(passage) * torch.hann_window(len(passage)), length)
    cross = torch.fft.rfft(around.float(), length) * spectra.conj()
    size, frequency = cross.abs(), torch.fft.rfftfreq(length, 1 / RATE_HZ)
    best = 0.0
    for low_hz, high_hz, weight in BANDS:
        band = (frequency > low_hz) & (frequency < high_hz)
        floor = 1e-3 * size[:, band].mean(1, keepdim=True)
        phases = torch.where(band, cross / torch.maximum(size, floor).clamp(min=1e-12), 0)
        along = torch.fft.irfft(phases, length)[:, :lags] * (length / (2 * int(band.sum())))
        best = max(best, weight * float(along.abs().max()))
    return best


def at_rate(waveform: Tensor) -> Tensor:
    """A waveform [n] at 16 kHz, at RATE_HZ."""
    return resample(waveform, SAMPLE_RATE_HZ, RATE_HZ)


def part(waveform: Tensor, start_s: float, end_s: float) -> Tensor:
    """A waveform [n] at RATE_HZ from start_s to end_s, zero where it has nothing: float32."""
    start, stop = round(start_s * RATE_HZ), round(end_s * RATE_HZ)
    return cut_or_zero(waveform, start, stop - start).float()


def _at_rates(passage: Tensor) -> Tensor:
    """The passage [n] played at each of RATES, about its middle: [rates, n], linearly interpolated."""
    last = len(passage) - 1
    at = (torch.arange(len(passage)) - last / 2) * (1 + RATES[:, None]) + last / 2
    at = at.clamp(0, last)
    left = at.long().clamp(max=last - 1)
    share = at - left
    wave = passage.float()
    return wave[left] * (1 - share) + wave[left + 1] * share
