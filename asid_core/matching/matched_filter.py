"""The matched filter: correlates the query, with pitch and tempo undone, with a reference around a place.

`best` searches a grid of pitches, tempi and lags at full resolution. `glance` tries one pitch and tempo at half
resolution in time and frequency, which tolerates the error of the probe grid, at an eighth of the cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from asid_core.config import SAMPLE_RATE_HZ, VerifyConfig
from asid_core.matching.align import Candidate
from asid_core.matching.correlation import correlate
from asid_core.signal.probing import excerpt, pooled_bins, shifted
from asid_core.signal.windows import cut_or_zero

# Whitened values have a long tail of onsets. Clipping at 1 (8.7 dB above their surroundings) keeps a single onset from
# dominating the correlation.
CEILING = 1.0
PEAK_FRAMES = 8  # half width of a correlation peak over lag; beyond it lies another place
GLANCE_FRAMES = 2  # frames averaged into one by `glance`


@dataclass(frozen=True)
class Recording:
    """Features [F, T] of a whole track, and its duration. The last frame may extend beyond the duration."""

    features: Tensor
    duration_s: float


class References(Protocol):
    """Gives the verifier access to the references, by index."""

    def duration_s(self, reference: int) -> float:
        """The duration of the track in seconds."""

    def features(self, reference: int, start_s: float, end_s: float) -> tuple[Tensor, float]:
        """Features [F, T] of at least that span, as far as the track goes, and the time of frame 0 in seconds."""


@dataclass(frozen=True)
class OneTrack:
    """A single recording as References. It has the index 0."""

    recording: Recording

    def duration_s(self, reference: int) -> float:
        """The duration of the recording in seconds."""
        return self.recording.duration_s

    def features(self, reference: int, start_s: float, end_s: float) -> tuple[Tensor, float]:
        """All features [F, T], and 0, the time of the first frame."""
        return self.recording.features, 0.0


@dataclass(frozen=True)
class Peak:
    """The best match of a search. `centre_s` is a time in the reference."""

    score: float  # centred correlation, -1..1; about 0 for unrelated music
    margin: float  # score minus the best score at another place within a second
    pitch_semitones: float
    tempo_ratio: float
    centre_s: float


class MatchedFilter:
    """Correlates one query with references."""

    def __init__(self, query: Recording, references: References, config: VerifyConfig) -> None:
        self.query = query.features.float().clamp(max=CEILING)
        self.references = references
        self.config = config
        self.frame_s = config.features.hop_samples / SAMPLE_RATE_HZ

    def reference(self, track: int, start_frame: int, frames: int) -> Tensor:
        """Features [F, frames] of a reference from a frame on, zero outside the track."""
        features, first_s = self.references.features(
            track, max(0.0, start_frame * self.frame_s), (start_frame + frames) * self.frame_s
        )
        offset = start_frame - round(first_s / self.frame_s)
        return cut_or_zero(features, offset, frames).float().clamp(max=CEILING)

    def undone(self, centre_s: float, semitones: float, ratio: float, frames: int) -> Tensor:
        """The query around `centre_s`, with pitch and tempo undone: [1, F, frames]."""
        return shifted(excerpt(self.query, centre_s / self.frame_s, ratio, frames, 1), semitones, self.config.features)

    def best(self, at: Candidate, pitches: list[float], ratios: list[float], width: int, lag: int) -> Peak:
        """The best of a grid of pitches (semitones), tempo ratios and lags of up to `lag` frames."""
        excerpts = [self.undone(at.query_centre_s, 0.0, ratio, width) for ratio in ratios]
        templates = torch.cat([shifted(e, pitch, self.config.features) for e in excerpts for pitch in pitches])
        first = round(at.reference_centre_s / self.frame_s) - width // 2 - lag
        scores = correlate(templates, self.reference(at.reference, first, width + 2 * lag))
        grid = scores.unflatten(0, (len(ratios), len(pitches)))
        # not torch.unravel_index, which imports sympy: some seconds in each worker
        at_ratio, at_pitch, at_lag = (int(i) for i in np.unravel_index(int(grid.argmax()), grid.shape))
        along = grid[at_ratio, at_pitch]
        return Peak(
            score=float(along[at_lag]),
            margin=_margin(along, at_lag, PEAK_FRAMES, self.config.lag_frames),
            pitch_semitones=_between(pitches, at_pitch + _offset(grid[at_ratio, :, at_lag], at_pitch)),
            tempo_ratio=_between(ratios, at_ratio + _offset(grid[:, at_pitch, at_lag], at_ratio)),
            centre_s=(first + at_lag + _offset(along, at_lag) + width / 2) * self.frame_s,
        )

    def glance(self, at: Candidate, lag: int) -> Peak:
        """The best lag of up to `lag` frames, at the pitch and tempo of the candidate."""
        width, lags = self.config.excerpt_frames // GLANCE_FRAMES, -(-lag // GLANCE_FRAMES)
        frames = width * GLANCE_FRAMES
        cut = excerpt(self.query, at.query_centre_s / self.frame_s, at.tempo_ratio, frames, GLANCE_FRAMES)
        template = self._coarse(shifted(cut, at.pitch_semitones, self.config.features))
        first = round(at.reference_centre_s / self.frame_s) - (width // 2 + lags) * GLANCE_FRAMES
        place = self.reference(at.reference, first, (width + 2 * lags) * GLANCE_FRAMES)
        pooled = place.unflatten(1, (-1, GLANCE_FRAMES)).mean(2)
        along = correlate(template, self._coarse(pooled[None])[0])[0]
        best = int(along.argmax())
        near, far = PEAK_FRAMES // GLANCE_FRAMES, self.config.lag_frames // GLANCE_FRAMES
        middle = best + _offset(along, best) + width / 2
        return Peak(
            score=float(along[best]),
            margin=_margin(along, best, near, far),
            pitch_semitones=at.pitch_semitones,
            tempo_ratio=at.tempo_ratio,
            centre_s=(first + middle * GLANCE_FRAMES) * self.frame_s,
        )

    def _coarse(self, patches: Tensor) -> Tensor:
        """Patches [n, F, T] with bins pooled as in fingerprints."""
        return pooled_bins(patches, self.config.features.pool_bins)


def _margin(along: Tensor, at: int, near: int, far: int) -> float:
    """The maximum `along[at]` minus the largest value more than `near` and at most `far` steps away."""
    steps = torch.arange(len(along)).sub(at).abs()
    elsewhere = along[(steps > near) & (steps <= far)]
    return float(along[at] - elsewhere.max().clamp(min=0)) if len(elsewhere) else 0.0


def _offset(values: Tensor, at: int) -> float:
    """Offset, -0.5..0.5, of the vertex of the parabola through a maximum and its neighbours; 0 at the border."""
    if not 0 < at < len(values) - 1:
        return 0.0
    left, middle, right = (float(v) for v in values[at - 1 : at + 2])
    curvature = left - 2 * middle + right
    return 0.0 if curvature >= -1e-9 else max(-0.5, min(0.5, 0.5 * (left - right) / curvature))


def _between(steps: list[float], position: float) -> float:
    """Linear interpolation at a fractional position of a list."""
    if len(steps) == 1:
        return steps[0]
    low = min(int(position), len(steps) - 2)
    return steps[low] + (position - low) * (steps[low + 1] - steps[low])
