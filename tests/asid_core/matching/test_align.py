"""Alignment: hits planted on lines among random hits."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asid_core.config import SearchConfig, load
from asid_core.matching.align import CHANCE_Z_SCORE, Candidate, align
from asid_core.matching.coarse import Hits

ROWS, HOP_S, WINDOW_S = 400, 0.16, 4.0  # 64 s a track
TRACKS = 5
ROW_TRACK = np.repeat(np.arange(TRACKS), ROWS)
ROW_CENTRE_S = np.tile(WINDOW_S / 2 + np.arange(ROWS) * HOP_S, TRACKS)
QUERY_CENTRES_S = WINDOW_S / 2 + np.arange(40.0)
GRID = load("linear").probes
PROBES = list(itertools.product(GRID.semitones, GRID.tempo_ratios))

Hit = tuple[int, int, int, float]  # window, probe, row, z_score


def row_at(track: int, centre_s: float) -> int:
    return track * ROWS + round((centre_s - WINDOW_S / 2) / HOP_S)


def line(windows: range, track: int, start_s: float, ratio: float, probe: int, z_score: float) -> list[Hit]:
    """Hits on a line through (centre of the first window, start_s). The first hit is the strongest."""
    centres = QUERY_CENTRES_S[list(windows)]
    rows = [row_at(track, start_s + ratio * (centre - centres[0])) for centre in centres]
    return [(w, probe, row, z_score - 0.1 * i) for i, (w, row) in enumerate(zip(windows, rows, strict=True))]


def noise(count: int, seed: int, probes: int, tracks: int = TRACKS) -> list[Hit]:
    """Random hits that are together weaker than one true hit: 10 * 1.5 ** 2 < 5 ** 2."""
    rng = np.random.default_rng(seed)
    return [
        (int(rng.integers(40)), int(rng.integers(probes)), int(rng.integers(tracks * ROWS)), float(rng.uniform(0, 1.5)))
        for _ in range(count)
    ]


def aligned(
    hits: list[Hit], probes: list[tuple[float, float]], config: SearchConfig | None = None, either_way: bool = False
) -> list[Candidate]:
    window, probe, row, z_score = (np.array(column) for column in zip(*hits, strict=True))
    table = Hits(window, probe, row, 0.1 * z_score, z_score)
    return align(
        table, QUERY_CENTRES_S, probes, ROW_TRACK, ROW_CENTRE_S, WINDOW_S, config or SearchConfig(), either_way
    )


def assert_is(candidate: Candidate, planted: list[Hit], track: int, ratio: float) -> None:
    assert candidate.reference == track
    pairs = {tuple(pair) for pair in candidate.window_pairs.tolist()}
    assert {(window, row) for window, _, row, _ in planted} <= pairs
    window, _, row, _ = planted[0]
    assert candidate.query_centre_s == QUERY_CENTRES_S[window] and candidate.reference_centre_s == ROW_CENTRE_S[row]
    # half a second over the line's length, and the steps in which ratios are tried
    length_s = QUERY_CENTRES_S[planted[-1][0]] - QUERY_CENTRES_S[window]
    assert abs(candidate.tempo_ratio - ratio) <= 0.6 / length_s + 0.01


@settings(deadline=None, max_examples=40)
@given(
    probe=st.integers(0, len(PROBES) - 1),
    off=st.floats(0.97, 1.03),
    track=st.integers(0, TRACKS - 1),
    start_s=st.floats(3, 40),
    first=st.integers(0, 30),
    seed=st.integers(0, 2**16),
)
def test_a_line_among_noise_is_found_with_pitch_ratio_and_place(
    probe: int, off: float, track: int, start_s: float, first: int, seed: int
) -> None:
    ratio = PROBES[probe][1] * off
    planted = line(range(first, first + 8), track, start_s, ratio, probe, 6.0)
    best = aligned(planted + noise(10, seed, len(PROBES)), PROBES)[0]
    assert_is(best, planted, track, ratio)
    assert best.pitch_semitones == PROBES[probe][0]
    assert best.span.query_start_s < best.query_centre_s < best.span.query_end_s
    assert best.coarse_score == pytest.approx(5.9)


@settings(deadline=None, max_examples=40)
@given(
    log_ratio=st.floats(np.log(0.52), np.log(1.92)),
    start_s=st.floats(3, 40),
    seed=st.integers(0, 2**16),
)
def test_without_probes_ratios_from_half_to_double_are_found(log_ratio: float, start_s: float, seed: int) -> None:
    ratio = float(np.exp(log_ratio))
    planted = line(range(5, 13), 2, start_s, ratio, 0, 6.0)
    best = aligned(planted + noise(10, seed, 1), [(0.0, 1.0)])[0]
    assert_is(best, planted, 2, ratio)


def test_a_loop_is_two_candidates_of_one_pair() -> None:
    first, second = line(range(2, 7), 1, 20.0, 1.0, 40, 7.0), line(range(20, 25), 1, 20.0, 1.0, 40, 6.0)
    assert PROBES[40] == (0.0, 1.0)
    candidates = aligned(first + second, PROBES)
    assert len(candidates) == 2
    assert_is(candidates[0], first, 1, 1.0)
    assert_is(candidates[1], second, 1, 1.0)
    assert [c.num_windows for c in candidates] == [5, 5]
    lone = second[:1]
    assert len(aligned(first + lone, PROBES, SearchConfig(places_per_track=1))) == 1


def test_a_chance_hit_far_away_hides_no_other_place() -> None:
    """The first line reaches from window 2 to 34."""
    far = row_at(1, 20.0 + 32.0)
    first = [*line(range(2, 7), 1, 20.0, 1.0, 40, 7.0), (34, 40, far, 3.0)]
    others = [line(range(at, at + 5), 1, 20.0, 1.0, 40, z) for at, z in ((12, 6.0), (22, 5.5))]
    candidates = aligned([*first, *others[0], *others[1]], PROBES, SearchConfig(places_per_track=1))
    assert [c.query_centre_s for c in candidates] == [QUERY_CENTRES_S[window] for window in (2, 12, 22)]


@pytest.mark.parametrize("either_way", [False, True])
def test_the_same_seconds_are_at_several_places_of_a_reference_that_may_sample_them(either_way: bool) -> None:
    plays = [line(range(2, 7), 1, start_s, 1.0, 40, z) for start_s, z in ((8.0, 7.0), (20.0, 6.0), (32.0, 5.0))]
    candidates = aligned([hit for play in plays for hit in play], PROBES, SearchConfig(places_per_track=1), either_way)
    starts_s = [8.0, 20.0, 32.0][: 3 if either_way else 1]
    assert [c.reference_centre_s for c in candidates] == pytest.approx(starts_s, abs=HOP_S)


def test_hits_of_another_pitch_are_not_of_the_line() -> None:
    low, high = PROBES.index((-4.0, 1.0)), PROBES.index((3.0, 1.0))
    candidates = aligned([(3, low, row_at(0, 20.0), 6.0), (4, high, row_at(0, 21.0), 5.0)], PROBES)
    assert [(c.pitch_semitones, c.num_windows) for c in candidates] == [(-4.0, 1), (3.0, 1)]


def test_a_lone_hit_is_worth_less_than_three_as_strong() -> None:
    run = line(range(3, 6), 0, 20.0, 1.0, 40, 6.0)
    candidates = aligned([*run, (20, 40, row_at(1, 30.0), 6.0)], PROBES)
    assert [c.reference for c in candidates] == [0, 1]
    assert candidates[1].coarse_score == pytest.approx((6.0 + 2 * CHANCE_Z_SCORE) / 3)
    assert candidates[1].tempo_ratio == pytest.approx(1.0)


def test_only_the_best_references_are_kept() -> None:
    hits = [hit for track in range(TRACKS) for hit in line(range(3, 8), track, 20.0, 1.0, 40, 5.0 + track)]
    assert [c.reference for c in aligned(hits, PROBES, SearchConfig(verify_tracks=2))] == [4, 3]


def test_one_strong_hit_goes_on_before_three_weak_ones_of_a_higher_score() -> None:
    strong, weak = line(range(5, 6), 1, 20.0, 1.0, 0, 6.0), line(range(5, 8), 2, 20.0, 1.0, 0, 3.9)
    both = aligned(strong + weak, [(0.0, 1.0)])
    assert [one.reference for one in both] == [2, 1]
    (kept,) = aligned(strong + weak, [(0.0, 1.0)], SearchConfig(verify_tracks=1))
    assert kept.reference == 1


def test_a_second_play_at_another_speed_is_a_place_of_its_own() -> None:
    """Even if two stronger lines cross the first play, with one long query and one reference."""
    slow, fast = (PROBES.index((0.0, ratio)) for ratio in sorted(GRID.tempo_ratios)[:2])
    first = line(range(2, 12), 1, 20.0, PROBES[slow][1], slow, 9.0)
    a_bar_on = line(range(2, 12), 1, 24.0, PROBES[slow][1], slow, 8.5)
    second = line(range(20, 32), 1, 20.0, PROBES[fast][1], fast, 6.0)
    candidates = aligned(first + a_bar_on + second, PROBES)
    assert len(candidates) == 3
    assert_is(candidates[2], second, 1, PROBES[fast][1])


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**16))
def test_both_sides_of_a_candidate_are_images_of_each_other(seed: int) -> None:
    for candidate in aligned(noise(30, seed, len(PROBES), 1), PROBES):
        along_s = candidate.query_centre_s - candidate.span.query_start_s
        assert candidate.span.reference_start_s == pytest.approx(
            candidate.reference_centre_s - along_s * candidate.tempo_ratio
        )
        assert candidate.span.reference_at(candidate.query_centre_s) == pytest.approx(candidate.reference_centre_s)
