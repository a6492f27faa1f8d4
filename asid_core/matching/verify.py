"""Verification by the audio itself: a matched filter on the whitened log-frequency spectrogram.

A sample is the same recording, so a candidate is settled by laying the query, stretched and shifted back, over the
reference and correlating. Each excerpt is centred over time and over frequency first (its row and column means taken
out): held notes and steady beats, which any two pieces may share, then count for nothing, and unrelated music
correlates around 0 instead of 0.5. On 60 made queries, one excerpt of 4 s: AUC of "samples nothing" 0.98 centred,
0.97 plain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from asid_core.config import SAMPLE_RATE_HZ, VerifyConfig
from asid_core.matching.align import Candidate
from asid_core.matching.correlation import correlate, running_correlation
from asid_core.matching.span import Span
from asid_core.signal.probing import shifted, stretched

# whitened values have a long tail of onsets; cut at 1 (8.7 dB above their surroundings) no single one decides:
# mAP +0.02
CEILING = 1.0

SHARP_TEMPO_STEPS = tuple(step / 200 for step in range(-5, 6))  # 2.5 % either way in halves
SHARP_LAG_FRAMES = 8
SHARP_FRAMES = 300  # 12 s: half a percent of tempo is then 30 ms at its ends, less than a frame

LONGEST_REACH_FRAMES = 22_500  # 15 minutes either way: 14 MB a side

MAX_REPEATS = 64  # of one sample in one query track

# A loop sounds alike a bar on, and the coarse search may point there: where it is this sure and the audio says no, look
# as far as 8 s. One pair in 40 of made queries; half of those that were real were lost without.
STRONG_COARSE = 5.0
WIDE_LAG_FRAMES = 200
PEAK_FRAMES = 8  # of correlation over lag, on either side; what lies beyond is another place


@dataclass(frozen=True)
class Recording:
    """Frames [F, T] of a whole track and its duration, which its last frame may exceed."""

    features: Tensor
    duration_s: float


class References(Protocol):
    """What a verifier asks about the references, by their index."""

    def duration_s(self, reference: int) -> float:
        """The length of the track."""

    def features(self, reference: int, start_s: float, end_s: float) -> tuple[Tensor, float]:
        """Features [F, T] of at least that span (less where the track ends) and the time of their first frame."""


@dataclass(frozen=True)
class Verified:
    """A candidate with what the audio says of it."""

    candidate: Candidate
    verify_score: float  # centred correlation of the best excerpt, -1..1; about 0 for unrelated music
    verify_margin: float  # by how much that exceeds the best at another place within a second
    pitch_semitones: float
    span: Span  # inside both tracks

    @property
    def tempo_ratio(self) -> float:
        """Seconds of the reference per second of the query."""
        return self.span.tempo_ratio


@dataclass(frozen=True)
class _Peak:
    """The best of a grid; `centre_s` in the reference."""

    score: float
    margin: float
    pitch_semitones: float
    tempo_ratio: float
    centre_s: float


class Verifier:
    """Verifies the candidates of one query track."""

    def __init__(self, query: Recording, references: References, config: VerifyConfig) -> None:
        self.query = query.features.float().clamp(max=CEILING)
        self.query_s = query.duration_s
        self.references = references
        self.config = config
        self.frame_s = config.features.hop_samples / SAMPLE_RATE_HZ

    def verify(self, candidates: Sequence[Candidate]) -> list[Verified]:
        """All that can be said of the candidates, strongest first, of any number of references.

        A candidate becomes one `Verified`, or several where the query repeats the sample. It is dropped where it lies
        within what was found already, and where its line misses one of the tracks.
        """
        found: list[Verified] = []
        for candidate in candidates:
            if any(_within(candidate, known) for known in found):
                continue
            best = self._refined(candidate, self.config.lag_frames)
            if best.verify_score < self.config.min_score and candidate.coarse_score >= STRONG_COARSE:
                best = max(best, self._refined(candidate, WIDE_LAG_FRAMES), key=lambda one: one.verify_score)
            if best.verify_score >= self.config.min_score:
                best = self._sharpened(self._with_span(best))
                found += self._cut([best, *self._repeats(best, found)])
            else:
                found += self._cut([best])
        return found

    def _cut(self, found: Sequence[Verified]) -> list[Verified]:
        """Each with the part of its span that lies inside both tracks; one without such a part is dropped."""
        cut = []
        for one in found:
            span = one.span.within(self.query_s, self.references.duration_s(one.candidate.reference))
            if span is not None:
                cut.append(replace(one, span=span))
        return cut

    def _repeats(self, best: Verified, found: Sequence[Verified]) -> list[Verified]:
        """Where else in the query the same excerpt of the reference is heard, at the same pitch and tempo."""
        width = self.config.excerpt_frames
        middle = round(best.candidate.reference_centre_s / self.frame_s)
        excerpt = self._reference(best.candidate.reference, middle - width // 2, width)
        duration_s = self.query.shape[1] * self.frame_s
        frames = int(self.query.shape[1] * best.tempo_ratio)
        if frames < width:
            return []
        whole = self._undone(duration_s / 2, best.pitch_semitones, best.tempo_ratio, frames)
        scores = correlate(excerpt[None], whole[0])[0]
        centres_s = (
            duration_s / 2 + (torch.arange(len(scores)) + (width - frames) / 2) * self.frame_s / best.tempo_ratio
        )
        least = max(self.config.repeat_share * best.verify_score, self.config.min_score)
        taken = [best, *(known for known in found if known.candidate.reference == best.candidate.reference)]
        repeats: list[Verified] = []
        while len(repeats) < MAX_REPEATS:
            for one in taken:
                scores[(centres_s > one.span.query_start_s - 0.5) & (centres_s < one.span.query_end_s + 0.5)] = -1.0
            at = int(scores.argmax())
            if scores[at] < least:
                break
            there_s = float(centres_s[at])
            moved = replace(best.candidate, query_centre_s=there_s, reference_centre_s=middle * self.frame_s)
            repeats.append(self._with_span(replace(best, candidate=moved, verify_score=float(scores[at]))))
            taken = repeats[-1:]
        return repeats

    def _reference(self, track: int, start_frame: int, frames: int) -> Tensor:
        """Exactly those frames of a reference, zero outside it: [F, frames]."""
        features, first_s = self.references.features(
            track, max(0.0, start_frame * self.frame_s), (start_frame + frames) * self.frame_s
        )
        offset = start_frame - round(first_s / self.frame_s)
        part = features[:, max(offset, 0) : max(offset + frames, 0)].float().clamp(max=CEILING)
        left = max(-offset, 0)
        return F.pad(part, (left, max(frames - left - part.shape[1], 0)))[:, :frames]

    def _undone(self, centre_s: float, semitones: float, ratio: float, frames: int) -> Tensor:
        """The query around `centre_s` as the reference would sound there: [1, F, frames]."""
        cut = stretched(self.query, torch.tensor([centre_s / self.frame_s]), ratio, frames, 1)
        return shifted(cut, semitones, self.config.features)

    def _refined(self, candidate: Candidate, lag_frames: int) -> Verified:
        """The candidate at its best pitch, tempo and lag near where the coarse search points."""
        config = self.config
        pitches = [candidate.pitch_semitones + step for step in config.pitch_steps]
        ratios = [candidate.tempo_ratio * (1 + step) for step in config.tempo_steps]
        peak = self._best(candidate, pitches, ratios, config.excerpt_frames, lag_frames)
        moved = replace(candidate, reference_centre_s=peak.centre_s)
        before_s = candidate.query_centre_s - candidate.span.query_start_s
        after_s = candidate.span.query_end_s - candidate.query_centre_s
        span = Span.around(candidate.query_centre_s, peak.centre_s, peak.tempo_ratio, before_s, after_s)
        return Verified(moved, peak.score, peak.margin, peak.pitch_semitones, span)

    def _sharpened(self, found: Verified) -> Verified:
        """Tempo and place again, by the whole span (up to SHARP_FRAMES): the longer, the better they are told."""
        middle_s = (found.span.query_start_s + found.span.query_end_s) / 2
        along_s = middle_s - found.candidate.query_centre_s
        width = round((found.span.reference_end_s - found.span.reference_start_s) / self.frame_s)
        candidate = replace(
            found.candidate,
            query_centre_s=middle_s,
            reference_centre_s=found.candidate.reference_centre_s + along_s * found.tempo_ratio,
        )
        ratios = [found.tempo_ratio * (1 + step) for step in SHARP_TEMPO_STEPS]
        width = max(self.config.excerpt_frames, min(width, SHARP_FRAMES))
        peak = self._best(candidate, [found.pitch_semitones], ratios, width, SHARP_LAG_FRAMES)
        if peak.score < 0.8 * found.verify_score:  # the span reaches over something else
            return found
        candidate = replace(candidate, reference_centre_s=peak.centre_s)
        return self._with_span(
            replace(found, candidate=candidate, span=replace(found.span, tempo_ratio=peak.tempo_ratio))
        )

    def _best(self, at: Candidate, pitches: list[float], ratios: list[float], width: int, lag: int) -> _Peak:
        """Best of a grid of pitches, ratios and lags."""
        cuts = [self._undone(at.query_centre_s, 0.0, ratio, width) for ratio in ratios]
        templates = torch.cat([shifted(cut, pitch, self.config.features) for cut in cuts for pitch in pitches])
        first = round(at.reference_centre_s / self.frame_s) - width // 2 - lag
        scores = correlate(templates, self._reference(at.reference, first, width + 2 * lag))
        grid = scores.unflatten(0, (len(ratios), len(pitches)))
        at_ratio, at_pitch, at_lag = (int(i) for i in torch.unravel_index(grid.argmax(), grid.shape))
        along = grid[at_ratio, at_pitch]
        near = torch.arange(len(along)).sub(at_lag).abs()
        elsewhere = along[(near > PEAK_FRAMES) & (near <= self.config.lag_frames)]
        return _Peak(
            score=float(along[at_lag]),
            margin=float(along[at_lag] - elsewhere.max().clamp(min=0)) if len(elsewhere) else 0.0,
            pitch_semitones=_between(pitches, at_pitch + _offset(grid[at_ratio, :, at_lag], at_pitch)),
            tempo_ratio=_between(ratios, at_ratio + _offset(grid[:, at_pitch, at_lag], at_ratio)),
            centre_s=(first + at_lag + _offset(along, at_lag) + width / 2) * self.frame_s,
        )

    def _with_span(self, found: Verified) -> Verified:
        """Clip the span where the evidence starts and ends: where the running correlation falls to half its level."""
        config, candidate = self.config, found.candidate
        reach = self._reach(candidate)
        middle = round(candidate.reference_centre_s / self.frame_s)
        # the query's centre belongs to the middle frame exactly, whatever rounding did to it
        rounding_s = middle * self.frame_s - candidate.reference_centre_s
        query_centre_s = candidate.query_centre_s + rounding_s / found.tempo_ratio
        query = self._undone(query_centre_s, found.pitch_semitones, found.tempo_ratio, 2 * reach)[0]
        reference = self._reference(candidate.reference, middle - reach, 2 * reach)
        profile = running_correlation(query, reference, config.smooth_frames)
        start, end = grown(profile, reach, config.excerpt_frames // 2, config.smooth_frames)
        before_s, after_s = (frames * self.frame_s / found.tempo_ratio for frames in (reach - start, end - reach))
        span = Span.around(query_centre_s, middle * self.frame_s, found.tempo_ratio, before_s, after_s)
        return replace(found, span=span)

    def _reach(self, candidate: Candidate) -> int:
        """How many frames a span may grow either way: `reach_frames` beyond what the coarse search saw, or LONGEST."""
        seen_s = max(
            candidate.reference_centre_s - candidate.span.reference_start_s,
            candidate.span.reference_end_s - candidate.reference_centre_s,
        )
        return min(round(seen_s / self.frame_s) + self.config.reach_frames, LONGEST_REACH_FRAMES)


def _within(candidate: Candidate, known: Verified) -> bool:
    """Whether a candidate says again what is known: inside its span and, within a second, on its line."""
    along = candidate.query_centre_s - known.candidate.query_centre_s
    expected_s = known.candidate.reference_centre_s + along * known.tempo_ratio
    return (
        candidate.reference == known.candidate.reference
        and known.span.query_start_s <= candidate.query_centre_s <= known.span.query_end_s
        and abs(candidate.reference_centre_s - expected_s) < 1.0
    )


def grown(profile: Tensor, centre: int, half_excerpt: int, gap: int) -> tuple[int, int]:
    """The run around `centre` in which `profile` [T] stays above half its level, gaps below `gap` frames bridged.

    The level is the upper quartile within the excerpt. Returns (first frame, frame after the last).
    """
    core = profile[max(0, centre - half_excerpt) : centre + half_excerpt]
    above = (profile >= 0.5 * core.quantile(0.75)).tolist()
    start = _walk(above[:centre][::-1], gap)
    return centre - start, centre + _walk(above[centre:], gap)


def _walk(above: list[bool], gap: int) -> int:
    """How far a run of True goes from the start, stepping over at most `gap` False in a row."""
    reached, misses = 0, 0
    for position, value in enumerate(above, start=1):
        misses = 0 if value else misses + 1
        if value:
            reached = position
        if misses > gap:
            break
    return reached


def _offset(values: Tensor, at: int) -> float:
    """Offset of the maximum of the parabola through a maximum and its neighbours, -0.5..0.5; 0 at the border."""
    if not 0 < at < len(values) - 1:
        return 0.0
    left, middle, right = (float(v) for v in values[at - 1 : at + 2])
    curvature = left - 2 * middle + right
    return 0.0 if curvature >= -1e-9 else max(-0.5, min(0.5, 0.5 * (left - right) / curvature))


def _between(steps: list[float], position: float) -> float:
    """Value at a fractional position of a list."""
    if len(steps) == 1:
        return steps[0]
    low = min(int(position), len(steps) - 2)
    return steps[low] + (position - low) * (steps[low + 1] - steps[low])
