"""Verification by the audio itself: a matched filter on the whitened log-frequency spectrogram.

A sample is the same recording, so a candidate is settled by laying the query, stretched and shifted back, over the
reference and correlating. Each excerpt is centred over time and over frequency first (its row and column means taken
out): held notes and steady beats, which any two pieces may share, then count for nothing, and unrelated music
correlates around 0 instead of 0.5. On 60 made queries, one excerpt of 4 s: AUC of "samples nothing" 0.98 centred,
0.97 plain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from asid_core.config import SAMPLE_RATE_HZ, Verify
from asid_core.matching.align import Candidate
from asid_core.signal.probing import shifted, stretched

# whitened values have a long tail of onsets; cut at 1 (8.7 dB above their surroundings) no single one decides:
# mAP +0.02
CEILING = 1.0

SHARP_TEMPO_STEPS = tuple(step / 200 for step in range(-5, 6))  # 2.5 % either way in halves
SHARP_LAG_FRAMES = 8
SHARP_FRAMES = 300  # 12 s: half a percent of tempo is then 30 ms at its ends, less than a frame

LONGEST_REACH_FRAMES = 22_500  # 15 minutes either way: 14 MB a side
PLACES_A_PART = 8192  # 11 minutes of a query: 3 MB a template frame's row

MAX_REPEATS = 64  # of one sample in one query track

Features = Callable[[int, float, float], tuple[Tensor, float]]


@dataclass(frozen=True)
class Verified:
    """A candidate with what the audio says of it. Spans in seconds of the tracks."""

    candidate: Candidate
    verify_score: float  # centred correlation of the best excerpt, -1..1; about 0 for unrelated music
    pitch_semitones: float
    tempo_ratio: float
    query_start_s: float
    query_end_s: float
    reference_start_s: float
    reference_end_s: float


def centred(patches: Tensor) -> Tensor:
    """Patches [n, F, T] less their means over time and over frequency."""
    return patches - patches.mean(1, keepdim=True) - patches.mean(2, keepdim=True) + patches.mean((1, 2), keepdim=True)


def correlate(templates: Tensor, features: Tensor) -> Tensor:
    """Centred, normalised correlation of templates [n, F, W] with every place of features [F, T]: [n, T - W + 1].

    Centring is a projection, so only the templates need it; the norm of each centred place comes from running sums.
    """
    bins, width = templates.shape[1:]
    filters = centred(templates)
    products = _slide(filters, features)
    energy = _sums(features.square().sum(0), width)
    rows = _sums(features, width).square().sum(0) / width
    columns = _sums(features.sum(0).square(), width) / bins
    whole = _sums(features.sum(0), width).square() / (bins * width)
    places = (energy - rows - columns + whole).clamp(min=0).sqrt()
    norms = filters.flatten(1).norm(dim=1)[:, None] * places
    # a place with next to nothing in it would divide rounding errors: 1 is 0.2 % of a usual norm squared
    return torch.where(norms > 1.0, products / norms.clamp(min=1.0), 0.0)


def _slide(filters: Tensor, features: Tensor) -> Tensor:
    """Sums of products of filters [n, F, W] with every place of features [F, T]: [n, T - W + 1].

    One matrix product over frequency, then sums along its diagonals: 4 times as fast as conv1d, which is made for many
    small filters.
    """
    count, bins, width = filters.shape
    rows = filters.transpose(1, 2).reshape(count * width, bins)
    places = features.shape[1] - width + 1
    parts = []
    for start in range(0, places, PLACES_A_PART):
        product = (rows @ features[:, start : start + PLACES_A_PART + width - 1]).unflatten(0, (count, width))
        along, down, _ = product.stride()
        size = (count, width, min(PLACES_A_PART, places - start))
        parts.append(product.as_strided(size, (along, down + 1, 1)).sum(1))
    return torch.cat(parts, 1)


def _sums(values: Tensor, width: int) -> Tensor:
    """Sums over `width` neighbours of the last dimension."""
    running = F.pad(values.double().cumsum(-1), (1, 0))
    return (running[..., width:] - running[..., :-width]).float()


class Verifier:
    """Verifies the candidates of one query track."""

    def __init__(self, query_features: Tensor, reference_features: Features, config: Verify) -> None:
        """query_features [F, T], frames of the whole query.

        `reference_features(reference, start_s, end_s)` gives features [F, T] of at least that span of a reference (less
        where the track ends) and the time of their first frame.
        """
        self.query = query_features.float().clamp(max=CEILING)
        self.reference_features = reference_features
        self.config = config
        self.frame_s = config.features.hop_samples / SAMPLE_RATE_HZ

    def verify(self, candidates: Sequence[Candidate]) -> list[Verified]:
        """All that can be said of the candidates, strongest first, of any number of references.

        A candidate becomes one `Verified`, or several where the query repeats the sample; one that lies within what was
        found already is dropped.
        """
        found: list[Verified] = []
        for candidate in candidates:
            if any(_within(candidate, known) for known in found):
                continue
            best = self._refined(candidate)
            if best.verify_score < self.config.min_score:
                found.append(best)
            else:
                best = self._sharpened(self._with_span(best))
                found += [best, *self._repeats(best, found)]
        return found

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
        known = [k for k in found if k.candidate.reference == best.candidate.reference]
        repeats = [best]
        while len(repeats) <= MAX_REPEATS:
            for span in repeats[-1:] if len(repeats) > 1 else [*repeats, *known]:
                inside = (centres_s > span.query_start_s - 0.5) & (centres_s < span.query_end_s + 0.5)
                scores = scores.masked_fill(inside, -1.0)
            at = int(scores.argmax())
            if scores[at] < max(self.config.repeat_share * best.verify_score, self.config.min_score):
                break
            moved = replace(
                best.candidate,
                query_centre_s=float(centres_s[at]),
                reference_centre_s=middle * self.frame_s,
            )
            repeats.append(self._with_span(replace(best, candidate=moved, verify_score=float(scores[at]))))
        return repeats[1:]

    def _reference(self, track: int, start_frame: int, frames: int) -> Tensor:
        """Exactly those frames of a reference, zero outside it: [F, frames]."""
        features, first_s = self.reference_features(
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

    def _refined(self, candidate: Candidate) -> Verified:
        """The candidate at its best pitch, tempo and lag near where the coarse search points."""
        config = self.config
        pitches = [candidate.pitch_semitones + step for step in config.pitch_steps]
        ratios = [candidate.tempo_ratio * (1 + step) for step in config.tempo_steps]
        score, pitch, ratio, centre_s = self._best(candidate, pitches, ratios, config.excerpt_frames, config.lag_frames)
        moved = centre_s - candidate.reference_centre_s
        return Verified(
            candidate=replace(candidate, reference_centre_s=centre_s),
            verify_score=score,
            pitch_semitones=pitch,
            tempo_ratio=ratio,
            query_start_s=candidate.query_start_s,
            query_end_s=candidate.query_end_s,
            reference_start_s=max(0.0, candidate.reference_start_s + moved),
            reference_end_s=candidate.reference_end_s + moved,
        )

    def _sharpened(self, found: Verified) -> Verified:
        """Tempo and place again, by the whole span (up to SHARP_FRAMES): the longer, the better they are told."""
        middle_s = (found.query_start_s + found.query_end_s) / 2
        along_s = middle_s - found.candidate.query_centre_s
        width = round((found.reference_end_s - found.reference_start_s) / self.frame_s)
        candidate = replace(
            found.candidate,
            query_centre_s=middle_s,
            reference_centre_s=found.candidate.reference_centre_s + along_s * found.tempo_ratio,
        )
        ratios = [found.tempo_ratio * (1 + step) for step in SHARP_TEMPO_STEPS]
        width = max(self.config.excerpt_frames, min(width, SHARP_FRAMES))
        score, _, ratio, centre_s = self._best(candidate, [found.pitch_semitones], ratios, width, SHARP_LAG_FRAMES)
        if score < 0.8 * found.verify_score:  # the span reaches over something else
            return found
        sharper = replace(found, candidate=replace(candidate, reference_centre_s=centre_s), tempo_ratio=ratio)
        return self._with_span(sharper)

    def _best(
        self, at: Candidate, pitches: list[float], ratios: list[float], width: int, lag: int
    ) -> tuple[float, float, float, float]:
        """Best of a grid of pitches, ratios and lags: (score, pitch, ratio, centre in the reference)."""
        cuts = [self._undone(at.query_centre_s, 0.0, ratio, width) for ratio in ratios]
        templates = torch.cat([shifted(cut, pitch, self.config.features) for cut in cuts for pitch in pitches])
        first = round(at.reference_centre_s / self.frame_s) - width // 2 - lag
        scores = correlate(templates, self._reference(at.reference, first, width + 2 * lag))
        grid = scores.unflatten(0, (len(ratios), len(pitches)))
        at_ratio, at_pitch, at_lag = (int(i) for i in torch.unravel_index(grid.argmax(), grid.shape))
        centre_s = (first + at_lag + _peak(grid[at_ratio, at_pitch], at_lag) + width / 2) * self.frame_s
        pitch = _between(pitches, at_pitch + _peak(grid[at_ratio, :, at_lag], at_pitch))
        ratio = _between(ratios, at_ratio + _peak(grid[:, at_pitch, at_lag], at_ratio))
        return float(grid.max()), pitch, ratio, centre_s

    def _with_span(self, found: Verified) -> Verified:
        """Cut the span where the evidence starts and ends: where the running correlation falls to half its level."""
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
        before_s, after_s = (start - reach) * self.frame_s, (end - reach) * self.frame_s
        return replace(
            found,
            query_start_s=max(0.0, query_centre_s + before_s / found.tempo_ratio),
            query_end_s=min(self.query.shape[1] * self.frame_s, query_centre_s + after_s / found.tempo_ratio),
            reference_start_s=max(0.0, middle * self.frame_s + before_s),
            reference_end_s=middle * self.frame_s + after_s,
        )

    def _reach(self, candidate: Candidate) -> int:
        """How many frames a span may grow either way: `reach_frames` beyond what the coarse search saw, or LONGEST."""
        seen_s = max(
            candidate.reference_centre_s - candidate.reference_start_s,
            candidate.reference_end_s - candidate.reference_centre_s,
        )
        return min(round(seen_s / self.frame_s) + self.config.reach_frames, LONGEST_REACH_FRAMES)


def _within(candidate: Candidate, known: Verified) -> bool:
    """Whether a candidate says again what is known: inside its span and, within a second, on its line."""
    along = candidate.query_centre_s - known.candidate.query_centre_s
    expected_s = known.candidate.reference_centre_s + along * known.tempo_ratio
    return (
        candidate.reference == known.candidate.reference
        and known.query_start_s <= candidate.query_centre_s <= known.query_end_s
        and abs(candidate.reference_centre_s - expected_s) < 1.0
    )


def running_correlation(query: Tensor, reference: Tensor, width: int) -> Tensor:
    """Centred correlation of query and reference [F, T], frame against frame, over `width` frames around each: [T]."""
    query, reference = (F.pad(x, (width // 2, width - 1 - width // 2)) for x in (query, reference))
    rows = _sums(query, width), _sums(reference, width)
    columns = query.sum(0), reference.sum(0)
    wholes = _sums(columns[0], width), _sums(columns[1], width)

    def product(a: int, b: int) -> Tensor:
        frames = (query, reference)
        means = (rows[a] * rows[b]).sum(0) / width + _sums(columns[a] * columns[b], width) / len(query)
        return _sums((frames[a] * frames[b]).sum(0), width) - means + wholes[a] * wholes[b] / (len(query) * width)

    norms = (product(0, 0).clamp(min=0) * product(1, 1).clamp(min=0)).sqrt()
    return torch.where(norms > 1.0, product(0, 1) / norms.clamp(min=1.0), 0.0)


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


def _peak(values: Tensor, at: int) -> float:
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
