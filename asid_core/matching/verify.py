"""Verification of candidates by a matched filter on the whitened log-frequency spectrogram.

A sample is the same recording, so the query, with pitch and tempo undone, must correlate with the reference. Each
excerpt is first centred over time and frequency (its row and column means are subtracted). This removes held notes and
steady beats, which any two pieces may share; unrelated music then correlates around 0 instead of 0.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from asid_core.config import VerifyConfig
from asid_core.matching.align import Candidate
from asid_core.matching.correlation import correlate, running_correlation
from asid_core.matching.matched_filter import MatchedFilter, Peak, Recording, References
from asid_core.matching.span import Span

# Minimum score of `glance` to search the grid. Matches have 0.26 or more, most candidates have less than 0.2.
GLANCE_SCORE = 0.2

SHARP_TEMPO_STEPS = tuple(step / 200 for step in range(-5, 6))  # up to 2.5 % either way, in steps of 0.5 %
SHARP_LAG_FRAMES = 8
SHARP_FRAMES = 300  # 12 s: a tempo error of 0.5 % is then 30 ms at the ends, less than a frame

LONGEST_REACH_FRAMES = 22_500  # 15 minutes either way: 14 MB per side

MAX_REPEATS = 64  # of one sample in one query track

# A loop sounds similar one bar later, and the coarse search may point there. If its score is at least this and the
# audio does not match, search up to 8 s away.
STRONG_COARSE = 5.0
WIDE_LAG_FRAMES = 200


@dataclass(frozen=True)
class Verified:
    """A candidate with the result of its verification."""

    candidate: Candidate
    verify_score: float  # centred correlation of the best excerpt, -1..1; about 0 for unrelated music
    verify_margin: float  # verify_score minus the best score at another place within a second
    pitch_semitones: float
    span: Span  # inside both tracks
    is_match: bool = False  # whether the matched filter hears it or a reranker is sure; only then its span is refined
    coherence: float | None = None  # of the pair's waveforms (matching.coherence); None if pitch or tempo are changed

    @property
    def tempo_ratio(self) -> float:
        """Seconds of the reference per second of the query."""
        return self.span.tempo_ratio


class Verifier:
    """Verifies the candidates of one query track."""

    def __init__(self, query: Recording, references: References, config: VerifyConfig) -> None:
        self.filter = MatchedFilter(query, references, config)
        self.query_s = query.duration_s
        self.references = references
        self.config = config

    def verify(self, candidates: Sequence[Candidate]) -> list[Verified]:
        """Verify candidates, given strongest first, in any number of references: the steps below."""
        glanced = self.glance(candidates)
        return self.refine([one if one.verify_score < GLANCE_SCORE else self.locate(one) for one in glanced])

    def glance(self, candidates: Sequence[Candidate]) -> list[Verified]:
        """Each candidate at its best lag, in half resolution, with the span of the coarse search.

        It is dropped if its line misses one of the tracks.
        """
        return self._clipped([self._glanced(candidate) for candidate in candidates])

    def locate(self, glanced: Verified) -> Verified:
        """A candidate at its best pitch, tempo and lag. Says whether it is a match."""
        config, candidate = self.config, glanced.candidate
        pitches = [candidate.pitch_semitones + step for step in config.pitch_steps]
        ratios = [candidate.tempo_ratio * (1 + step) for step in config.tempo_steps]
        peak = self.filter.best(candidate, pitches, ratios, config.excerpt_frames, config.lag_frames)
        located = self._clipped([_verified(candidate, peak)])
        return replace(located[0], is_match=peak.score >= config.min_score) if located else glanced

    def refine(self, located: Sequence[Verified]) -> list[Verified]:
        """Find the spans and the repeats of the matches among `located`, given strongest first.

        A match gives one `Verified`, or several if the query repeats the sample. A candidate is dropped if an earlier
        result covers it, but a match only if that is a match.
        """
        refined: list[Verified] = []
        for one in located:
            if any((known.is_match or not one.is_match) and _within(one.candidate, known) for known in refined):
                continue
            if one.is_match:
                one = self._sharpened(self._with_span(one))
                refined += self._clipped([one, *self._repeats(one, refined)])
            else:
                refined.append(one)
        return refined

    def _glanced(self, candidate: Candidate) -> Verified:
        """The candidate at its best lag. If the coarse score is high and nothing matches there, also further away."""
        peak = self.filter.glance(candidate, self.config.lag_frames)
        if peak.score < self.config.min_score and candidate.coarse_score >= STRONG_COARSE:
            peak = self.filter.glance(candidate, WIDE_LAG_FRAMES)
        return _verified(candidate, peak)

    def _clipped(self, verified: Sequence[Verified]) -> list[Verified]:
        """The same with spans clipped to both tracks. Spans outside a track are dropped."""
        clipped = []
        for one in verified:
            span = one.span.within(self.query_s, self.references.duration_s(one.candidate.reference))
            if span is not None:
                clipped.append(replace(one, span=span))
        return clipped

    def _repeats(self, best: Verified, verified: Sequence[Verified]) -> list[Verified]:
        """Other places of the query with the same excerpt of the reference, at the same pitch and tempo."""
        width = self.config.excerpt_frames
        middle = round(best.candidate.reference_centre_s / self.filter.frame_s)
        excerpt = self.filter.reference(best.candidate.reference, middle - width // 2, width)
        duration_s = self.filter.query.shape[1] * self.filter.frame_s
        frames = int(self.filter.query.shape[1] * best.tempo_ratio)
        if frames < width:
            return []
        whole = self.filter.undone(duration_s / 2, best.pitch_semitones, best.tempo_ratio, frames)
        scores = correlate(excerpt[None], whole[0])[0]
        centres_s = (
            duration_s / 2 + (torch.arange(len(scores)) + (width - frames) / 2) * self.filter.frame_s / best.tempo_ratio
        )
        least = max(self.config.repeat_share * best.verify_score, self.config.min_score)
        taken = [best, *(known for known in verified if known.candidate.reference == best.candidate.reference)]
        repeats: list[Verified] = []
        while len(repeats) < MAX_REPEATS:
            for one in taken:
                scores[(centres_s > one.span.query_start_s - 0.5) & (centres_s < one.span.query_end_s + 0.5)] = -1.0
            at = int(scores.argmax())
            if scores[at] < least:
                break
            there_s = float(centres_s[at])
            moved = replace(best.candidate, query_centre_s=there_s, reference_centre_s=middle * self.filter.frame_s)
            repeats.append(self._with_span(replace(best, candidate=moved, verify_score=float(scores[at]))))
            taken = repeats[-1:]
        return repeats

    def _sharpened(self, found: Verified) -> Verified:
        """Refine tempo and place on the whole span, up to SHARP_FRAMES. A longer span determines them better."""
        middle_s = (found.span.query_start_s + found.span.query_end_s) / 2
        along_s = middle_s - found.candidate.query_centre_s
        width = round((found.span.reference_end_s - found.span.reference_start_s) / self.filter.frame_s)
        candidate = replace(
            found.candidate,
            query_centre_s=middle_s,
            reference_centre_s=found.candidate.reference_centre_s + along_s * found.tempo_ratio,
        )
        ratios = [found.tempo_ratio * (1 + step) for step in SHARP_TEMPO_STEPS]
        width = max(self.config.excerpt_frames, min(width, SHARP_FRAMES))
        peak = self.filter.best(candidate, [found.pitch_semitones], ratios, width, SHARP_LAG_FRAMES)
        if peak.score < 0.8 * found.verify_score:  # the span includes something else
            return found
        candidate = replace(candidate, reference_centre_s=peak.centre_s)
        return self._with_span(
            replace(found, candidate=candidate, span=replace(found.span, tempo_ratio=peak.tempo_ratio))
        )

    def _with_span(self, found: Verified) -> Verified:
        """Set the span to where the running correlation stays above half its level."""
        config, candidate = self.config, found.candidate
        reach = self._reach(candidate)
        middle = round(candidate.reference_centre_s / self.filter.frame_s)
        # move the query's centre by the rounding error, so that it matches the middle frame exactly
        rounding_s = middle * self.filter.frame_s - candidate.reference_centre_s
        query_centre_s = candidate.query_centre_s + rounding_s / found.tempo_ratio
        query = self.filter.undone(query_centre_s, found.pitch_semitones, found.tempo_ratio, 2 * reach)[0]
        reference = self.filter.reference(candidate.reference, middle - reach, 2 * reach)
        profile = running_correlation(query, reference, config.smooth_frames)
        start, end = grown(profile, reach, config.excerpt_frames // 2, config.smooth_frames)
        before_s, after_s = (
            frames * self.filter.frame_s / found.tempo_ratio for frames in (reach - start, end - reach)
        )
        span = Span.around(query_centre_s, middle * self.filter.frame_s, found.tempo_ratio, before_s, after_s)
        return replace(found, span=span)

    def _reach(self, candidate: Candidate) -> int:
        """How many frames a span may grow either way: `reach_frames` beyond its coarse span, up to the maximum."""
        seen_s = max(
            candidate.reference_centre_s - candidate.span.reference_start_s,
            candidate.span.reference_end_s - candidate.reference_centre_s,
        )
        return min(round(seen_s / self.filter.frame_s) + self.config.reach_frames, LONGEST_REACH_FRAMES)


def _verified(candidate: Candidate, peak: Peak) -> Verified:
    """The candidate moved to a peak, with the span of the coarse search."""
    moved = replace(candidate, reference_centre_s=peak.centre_s)
    before_s = candidate.query_centre_s - candidate.span.query_start_s
    after_s = candidate.span.query_end_s - candidate.query_centre_s
    span = Span.around(candidate.query_centre_s, peak.centre_s, peak.tempo_ratio, before_s, after_s)
    return Verified(moved, peak.score, peak.margin, peak.pitch_semitones, span)


def _within(candidate: Candidate, known: Verified) -> bool:
    """Whether a known match covers a candidate: it is inside its span and within a second of its line."""
    along = candidate.query_centre_s - known.candidate.query_centre_s
    expected_s = known.candidate.reference_centre_s + along * known.tempo_ratio
    return (
        candidate.reference == known.candidate.reference
        and known.span.query_start_s <= candidate.query_centre_s <= known.span.query_end_s
        and abs(candidate.reference_centre_s - expected_s) < 1.0
    )


def grown(profile: Tensor, centre: int, half_excerpt: int, gap: int) -> tuple[int, int]:
    """The frames around `centre` where `profile` [T] stays above half its level, except for gaps of up to `gap` frames.

    The level is the upper quartile of the profile in the excerpt. Returns (first frame, last frame + 1).
    """
    core = profile[max(0, centre - half_excerpt) : centre + half_excerpt]
    above = (profile >= 0.5 * core.quantile(0.75)).tolist()
    start = _walk(above[:centre][::-1], gap)
    return centre - start, centre + _walk(above[centre:], gap)


def _walk(above: list[bool], gap: int) -> int:
    """Length of the run of True from the start, with gaps of at most `gap` False in a row."""
    reached, misses = 0, 0
    for position, value in enumerate(above, start=1):
        misses = 0 if value else misses + 1
        if value:
            reached = position
        if misses > gap:
            break
    return reached
