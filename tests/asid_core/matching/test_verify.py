"""The matched filter on synthetic spectrograms with exactly known pitch and tempo."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from asid_core.config import VerifyConfig
from asid_core.matching.align import Candidate
from asid_core.matching.correlation import correlate, running_correlation
from asid_core.matching.matched_filter import Recording
from asid_core.matching.span import Span
from asid_core.matching.verify import Verified, Verifier, grown
from asid_core.signal.probing import centred

CONFIG = VerifyConfig()
BINS, FRAME_S = CONFIG.features.bins, 0.04
BINS_PER_SEMITONE = CONFIG.features.bins_per_octave / 12
REFERENCE_FRAMES, QUERY_FRAMES = 1500, 1000


@dataclass(frozen=True)
class Sounds:
    """Notes, or drums if `width` is large: bin, onset and length in frames, loudness."""

    bins: np.ndarray
    onsets: np.ndarray
    lengths: np.ndarray
    loudness: np.ndarray
    width: float = 0.8

    def render(self, frames: int, semitones: float = 0.0, start: float = 0.0, ratio: float = 1.0) -> Tensor:
        """[BINS, frames]: frame f is frame `start + ratio * f` of the original, `semitones` higher."""
        places = np.arange(BINS)[:, None] - self.bins - semitones * BINS_PER_SEMITONE
        tones = np.exp(-0.5 * (places / self.width) ** 2) * self.loudness
        since = (start + ratio * (np.arange(frames) + 0.5)) - self.onsets[:, None]
        heard = (since >= 0) & (since < self.lengths[:, None])
        # 2.5: as strong as whitened music is
        return torch.from_numpy(2.5 * tones @ np.where(heard, 1 - since / self.lengths[:, None], 0)).float()


def notes(seed: int, frames: int = REFERENCE_FRAMES, a_frame: float = 0.5) -> Sounds:
    rng = np.random.default_rng(seed)
    count = int(frames * a_frame)
    drawn = rng.uniform(10, BINS - 10, count), rng.uniform(0, frames, count), rng.uniform(8, 25, count)
    return Sounds(*drawn, rng.uniform(0.4, 1, count))


def drums(seed: int, frames: int = REFERENCE_FRAMES) -> Sounds:
    """Low, middle and high drum strokes: vertical lines in the spectrogram."""
    rng = np.random.default_rng(seed)
    count = frames // 7
    kinds = rng.choice([20.0, 80.0, 140.0], count)
    return Sounds(kinds, rng.uniform(0, frames, count), np.full(count, 4.0), rng.uniform(0.5, 1, count), 15.0)


@dataclass(frozen=True)
class Serving:
    """References whose features are in memory."""

    tracks: tuple[Tensor, ...]
    durations_s: tuple[float, ...] = ()

    def duration_s(self, reference: int) -> float:
        return self.durations_s[reference] if self.durations_s else self.tracks[reference].shape[1] * FRAME_S

    def features(self, reference: int, start_s: float, end_s: float) -> tuple[Tensor, float]:
        first = int(start_s / FRAME_S + 1e-6)
        return self.tracks[reference][:, first : int(end_s / FRAME_S) + 1], first * FRAME_S


def verifier_of(query: Tensor, *references: Tensor) -> Verifier:
    return Verifier(Recording(query, query.shape[1] * FRAME_S), Serving(references), CONFIG)


def pointing(query_s: float, reference_s: float, semitones: float = 0.0, ratio: float = 1.0) -> Candidate:
    """A candidate of the coarse search around two centres."""
    span = Span.around(query_s, reference_s, ratio, 2.0, 2.0)
    return Candidate(0, semitones, ratio, query_s, reference_s, span, 5.0, 19.0, 0.6, np.array([[0, 0]]))


@dataclass(frozen=True)
class Planted:
    """From `at_s`, the query plays `length_s` seconds of the reference from `from_s` on."""

    semitones: float = 0.0
    ratio: float = 1.0
    from_s: float = 20.0
    length_s: float = 8.0

    def query(self, sounds: Sounds, *at_s: float, background: float = 0.3) -> Tensor:
        query = background * notes(99).render(QUERY_FRAMES)
        for start_s in at_s:
            frames = round(self.length_s / FRAME_S)
            first = round(start_s / FRAME_S)
            part = sounds.render(frames, self.semitones, self.from_s / FRAME_S, self.ratio)
            query[:, first : first + frames] += part
        return query

    def near(self, at_s: float, pitch_off: float = 0.0, ratio_off: float = 1.0, off_s: float = 0.0) -> Candidate:
        middle_s = self.from_s + self.ratio * self.length_s / 2
        query_s = at_s + self.length_s / 2
        return pointing(query_s, middle_s + off_s, self.semitones + pitch_off, self.ratio * ratio_off)

    def assert_found(self, match: Verified, at_s: float, within_s: float = 0.3) -> None:
        assert match.pitch_semitones == pytest.approx(self.semitones, abs=0.1)
        assert match.tempo_ratio == pytest.approx(self.ratio, rel=0.01)
        spans = (
            match.span.query_start_s,
            match.span.query_end_s,
            match.span.reference_start_s,
            match.span.reference_end_s,
        )
        from_to = self.from_s, self.from_s + self.ratio * self.length_s
        assert spans == pytest.approx((at_s, at_s + self.length_s, *from_to), abs=within_s)


@settings(deadline=None, max_examples=40)
@given(
    shape=st.tuples(st.integers(1, 4), st.integers(8, 16), st.integers(8, 16)),
    more=st.integers(0, 30),
    seed=st.integers(0, 2**16),
)
def test_correlate_equals_the_naive_centred_correlation(shape: tuple[int, int, int], more: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    templates = 3 * torch.rand(shape, generator=generator)
    features = 3 * torch.rand(shape[1], shape[2] + more, generator=generator)
    places = centred(features.unfold(1, shape[2], 1).transpose(0, 1)).flatten(1).double()
    wanted = torch.nn.functional.cosine_similarity(
        centred(templates).flatten(1).double()[:, None], places[None], dim=2
    ).float()
    torch.testing.assert_close(correlate(templates, features), wanted, atol=1e-4, rtol=0)


def test_running_correlation_is_the_correlation_of_what_lies_around_a_frame() -> None:
    query = notes(1, a_frame=3).render(200)
    reference = query + notes(2).render(200)
    profile = running_correlation(query, reference, 25)
    wanted = correlate(query[None, :, 88:113], reference[:, 88:113])
    assert float(profile[100]) == pytest.approx(float(wanted), abs=1e-4)
    assert running_correlation(query, query, 25)[15:-15].min() == pytest.approx(1, abs=1e-4)


def test_centring_takes_out_held_notes_and_beats_that_fill_all_bins() -> None:
    patch = torch.rand(20, 1) + torch.rand(1, 30)
    assert centred(patch[None]).abs().max() < 1e-5


def test_a_run_grows_over_short_gaps_and_stops_at_long_ones() -> None:
    profile = torch.zeros(200)
    profile[50:100] = 1.0
    profile[60:65] = 0.0
    profile[130:150] = 1.0
    assert grown(profile, 80, 15, 10) == (50, 100)
    assert grown(profile, 80, 15, 40) == (50, 150)


@pytest.mark.parametrize(
    ("semitones", "ratio", "pitch_off", "ratio_off", "off_s"),
    [
        (0.0, 1.0, 0.0, 1.0, 0.0),
        (0.0, 1.0, -0.4, 1.025, 0.5),
        (4.0, 0.78, 0.4, 0.98, -0.6),
        (-3.0, 1.3, 0.2, 1.02, 0.6),
        (-1.25, 0.95, 0.25, 0.975, 0.3),
        (2.0, 1.12, -0.3, 1.01, -0.3),
    ],
)
def test_a_pitched_and_stretched_excerpt_is_refined(
    semitones: float, ratio: float, pitch_off: float, ratio_off: float, off_s: float
) -> None:
    planted, sounds = Planted(semitones, ratio), notes(1)
    verifier = verifier_of(planted.query(sounds, 14.0), sounds.render(REFERENCE_FRAMES))
    (match,) = verifier.verify([planted.near(14.0, pitch_off, ratio_off, off_s)])
    assert match.verify_score > 0.6
    planted.assert_found(match, 14.0)


def test_repeats_are_found_and_what_says_them_again_is_dropped() -> None:
    planted, sounds = Planted(2.0, 1.12, length_s=6.0), notes(1)
    verifier = verifier_of(planted.query(sounds, 3.0, 14.0, 30.0), sounds.render(REFERENCE_FRAMES))
    matches = verifier.verify([planted.near(14.0), planted.near(30.0)])
    assert len(matches) == 3
    for one, at_s in zip(sorted(matches, key=lambda v: v.span.query_start_s), (3.0, 14.0, 30.0), strict=True):
        planted.assert_found(one, at_s)


def test_unrelated_music_scores_about_nothing() -> None:
    scores = []
    for seed in range(5):
        reference, query = notes(seed).render(REFERENCE_FRAMES), notes(50 + seed).render(QUERY_FRAMES)
        (match,) = verifier_of(query, reference).verify([pointing(20.0, 30.0)])
        scores.append(match.verify_score)
        assert (match.span.query_start_s, match.span.query_end_s) == (18.0, 22.0)  # still the coarse search's
    assert max(map(abs, scores)) < CONFIG.min_score  # the best of 25 transformations and 51 places, so above 0


@pytest.mark.parametrize("silent", ["query", "reference", "both"])
def test_silence_scores_nothing_and_is_never_nan(silent: str) -> None:
    music, silence = notes(1).render(QUERY_FRAMES), torch.zeros(BINS, QUERY_FRAMES)
    query = silence if silent in ("query", "both") else music
    reference = silence if silent in ("reference", "both") else music
    (match,) = verifier_of(query, reference).verify([pointing(20.0, 20.0)])
    assert match.verify_score == 0.0
    assert np.isfinite(
        [match.pitch_semitones, match.tempo_ratio, match.span.query_start_s, match.span.reference_end_s]
    ).all()


def test_drums_alone_are_found() -> None:
    planted, sounds = Planted(0.0, 1.06), drums(1)
    verifier = verifier_of(planted.query(sounds, 14.0), sounds.render(REFERENCE_FRAMES))
    match = verifier.verify([planted.near(14.0, ratio_off=0.98, off_s=0.3)])[0]
    assert match.verify_score > 0.5
    assert match.tempo_ratio == pytest.approx(1.06, rel=0.01)
    assert (match.span.query_start_s, match.span.reference_start_s) == pytest.approx((14.0, 20.0), abs=0.4)


def test_other_drums_are_not() -> None:
    query, reference = drums(2).render(QUERY_FRAMES), drums(1).render(REFERENCE_FRAMES)
    matches = verifier_of(query, reference).verify([pointing(20.0, 30.0)])
    assert matches[0].verify_score < 0.4


def test_a_sample_without_its_upper_half_is_found() -> None:
    planted, sounds = Planted(-1.0, 0.95), notes(1)
    query = planted.query(sounds, 14.0, background=0.0)
    query[BINS // 2 :] = 0
    match = verifier_of(query, sounds.render(REFERENCE_FRAMES)).verify([planted.near(14.0)])[0]
    assert match.verify_score > 0.5
    planted.assert_found(match, 14.0)


def test_an_excerpt_at_the_very_edges_of_both_is_verified() -> None:
    planted, sounds = Planted(from_s=0.0), notes(1)
    verifier = verifier_of(planted.query(sounds, 0.0), sounds.render(REFERENCE_FRAMES))
    match = verifier.verify([pointing(1.0, 1.2)])[0]
    assert match.verify_score > 0.5 and max(match.span.query_start_s, match.span.reference_start_s) < 0.2


def test_next_to_nothing_matches_nothing() -> None:
    """Equal faint tails on both sides are no evidence."""
    faint = 0.1 * notes(1).render(QUERY_FRAMES)
    (match,) = verifier_of(faint, faint).verify([pointing(20.0, 20.0)])
    assert match.verify_score < 0.1


def test_the_margin_tells_music_from_a_beat_that_repeats_within_a_second() -> None:
    sounds, once = notes(1), notes(3, frames=12, a_frame=3).render(12)
    music = verifier_of(sounds.render(QUERY_FRAMES), sounds.render(REFERENCE_FRAMES))
    beat = verifier_of(once.repeat(1, 80), once.repeat(1, 120))
    heard, beaten = (verifier.verify([pointing(20.0, 20.0)])[0] for verifier in (music, beat))
    assert heard.verify_score > 0.9 and heard.verify_margin > 0.6
    assert beaten.verify_score > 0.9 and beaten.verify_margin < 0.1


def test_where_the_coarse_search_is_sure_a_bar_off_is_looked_at_too() -> None:
    planted, sounds = Planted(), notes(1)
    verifier = verifier_of(planted.query(sounds, 14.0), sounds.render(REFERENCE_FRAMES))
    off = planted.near(14.0, off_s=4.0)
    sure, unsure = (verifier.verify([replace(off, coarse_score=score)])[0] for score in (6.0, 3.0))
    planted.assert_found(sure, 14.0)
    assert unsure.verify_score < CONFIG.min_score


@settings(deadline=None, max_examples=20)
@given(
    ratio=st.floats(0.8, 1.25),
    from_s=st.one_of(st.just(0.0), st.floats(0, 20), st.just(None)),
    at_s=st.one_of(st.just(0.0), st.floats(0, 30), st.just(None)),
    off_s=st.floats(-0.9, 0.9),
    reaches_s=st.floats(0.1, 60),
)
def test_both_sides_of_a_span_are_images_and_inside_their_tracks(
    ratio: float, from_s: float | None, at_s: float | None, off_s: float, reaches_s: float
) -> None:
    """For any position of the match (None: at the very end) and any length of the span from the coarse search."""
    query_s, reference_s = QUERY_FRAMES * FRAME_S - 0.013, REFERENCE_FRAMES * FRAME_S - 0.02
    from_s = reference_s - 8 * ratio if from_s is None else from_s
    at_s = query_s - 8 if at_s is None else at_s
    planted, sounds = Planted(0.0, ratio, from_s), notes(1)
    query = Recording(planted.query(sounds, int(at_s / FRAME_S) * FRAME_S), query_s)
    references = Serving((sounds.render(REFERENCE_FRAMES),), (reference_s,))
    near = planted.near(at_s, off_s=off_s)
    near = replace(near, span=Span.around(near.query_centre_s, near.reference_centre_s, ratio, reaches_s, reaches_s))
    for match in Verifier(query, references, CONFIG).verify([near]):
        span = match.span
        expected_s = span.reference_start_s + span.tempo_ratio * (span.query_end_s - span.query_start_s)
        assert span.reference_end_s == pytest.approx(expected_s, abs=1e-3)
        assert -1e-9 <= span.query_start_s < span.query_end_s <= query_s + 1e-9
        assert -1e-9 <= span.reference_start_s < span.reference_end_s <= reference_s + 1e-9


def test_a_line_that_misses_a_track_is_no_detection() -> None:
    music = notes(1).render(QUERY_FRAMES)
    assert verifier_of(music, music).verify([pointing(20.0, -100.0)]) == []


def test_the_grid_is_only_for_what_a_glance_does_not_reject(monkeypatch: pytest.MonkeyPatch) -> None:
    planted, sounds = Planted(2.0, 1.12), notes(1)
    verifier = verifier_of(planted.query(sounds, 14.0), sounds.render(REFERENCE_FRAMES))
    searched: list[float] = []
    best = verifier.filter.best

    def noted(at: Any, *grid: Any) -> Any:
        searched.append(at.query_centre_s)
        return best(at, *grid)

    monkeypatch.setattr(verifier.filter, "best", noted)
    wrong = [replace(pointing(query_s, 5.0), coarse_score=3.0) for query_s in (4.0, 8.0, 30.0)]
    matches = verifier.verify([planted.near(14.0, 0.4, 1.03), *wrong])
    assert matches[0].verify_score > 0.6 and len(matches) == 4
    assert {round(query_s) for query_s in searched} == {18}
