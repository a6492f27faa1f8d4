"""Votes: every hit that stands out, added up along lines."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize

from asid_core.matching.background import MIN_DEVIATION, QUANTILE
from asid_core.matching.coarse import GROUP, Hits
from asid_core.matching.eight_bits import quantised, step
from asid_core.matching.inverted_lists import InvertedLists
from asid_core.matching.votes import (
    LEADING_Z_SCORE,
    MIN_Z_SCORE,
    OFFSET_S,
    STRETCH_S,
    VOTE_S,
    ListSearch,
    best_tracks,
    stretches,
)

DIM, LEADING, HOP_S = 32, 16, 0.5
PROBES = [(0.0, 0.9), (0.0, 1.0), (2.0, 1.0)]
ROWS_PER_TRACK = 200
SEEDS = st.integers(0, 2**16)


def unit(*shape: int, seed: int) -> Tensor:
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def made(rows: Tensor, lists: int) -> ListSearch:
    codes = quantised(rows, step(DIM))
    return ListSearch(InvertedLists.of(codes, LEADING, lists), codes[: len(codes) // GROUP * GROUP].contiguous())


def hits_of(window: list[int], row: list[int], z_score: list[float], probe: list[int] | None = None) -> Hits:
    probes = np.array(probe or [1] * len(window), np.int32)
    strengths = np.array(z_score, np.float32)
    return Hits(np.array(window, np.int32), probes, np.array(row, np.int64), strengths / 10, strengths)


def voted(hits: Hits, windows: int = 240, tracks: int = 20) -> dict[int, float]:
    """Votes by track. Rows and query windows are HOP_S apart."""
    place = np.arange(tracks * ROWS_PER_TRACK)
    centres_s = np.arange(windows) * HOP_S
    found = best_tracks(hits, centres_s, PROBES, place // ROWS_PER_TRACK, place % ROWS_PER_TRACK * HOP_S)
    assert (np.diff(found[1]) <= 0).all()
    return dict(zip(found[0].tolist(), found[1].tolist(), strict=True))


def z_scores(rows: Tensor, queries: Tensor, dims: int) -> np.ndarray:
    """z-scores [n, P, m] of the leading dimensions of codes [m, dim] and [P, n, dim], by plain products."""
    cosine = (queries[..., :dims].float() @ rows[:, :dims].float().T * step(DIM) ** 2).transpose(0, 1).numpy()
    best = cosine.reshape(len(cosine), len(queries), -1, GROUP).max((1, 3))
    clipped = np.minimum(best, np.quantile(best, QUANTILE, axis=1, keepdims=True))
    mean, deviation = clipped.mean(1)[:, None, None], np.maximum(clipped.std(1), MIN_DEVIATION)[:, None, None]
    return (cosine - mean) / deviation


@settings(deadline=None, max_examples=20)
@given(windows=st.integers(1, 70), seed=SEEDS)
def test_hits_are_all_that_stand_out_of_the_windows_background(windows: int, seed: int) -> None:
    rows, queries = unit(GROUP * 20, DIM, seed=seed), unit(3, windows, DIM, seed=seed + 1)
    queries[1] = normalize(queries[1] + rows[seed % 300], dim=-1)
    hits = made(rows, 5).hits(queries.half(), 5)
    codes = quantised(rows, step(DIM)), quantised(queries.half().flatten(0, 1), step(DIM)).unflatten(0, (3, windows))
    leading, whole = z_scores(*codes, LEADING), z_scores(*codes, DIM)
    found = {(w, p, r): z for w, p, r, z in zip(hits.window, hits.probe, hits.row, hits.z_score, strict=True)}
    for shift, larger in ((1e-3, False), (-1e-3, True)):  # a z-score may lie on the edge
        above = np.argwhere((leading >= LEADING_Z_SCORE + shift) & (whole >= MIN_Z_SCORE + shift)).tolist()
        expected = {(w, p, r) for w, p, r in above}
        assert expected >= set(found) if larger else expected <= set(found)
    assert list(found.values()) == pytest.approx([whole[key] for key in found], abs=1e-3)
    assert list(found) == sorted(found)


@settings(deadline=None, max_examples=20)
@given(cut=st.integers(1, 69), probed=st.integers(1, 5), seed=SEEDS)
def test_windows_may_be_searched_together_or_apart(cut: int, probed: int, seed: int) -> None:
    rows, queries = unit(GROUP * 10, DIM, seed=seed), unit(2, 70, DIM, seed=seed + 1)
    queries[0, 10:60] = normalize(queries[0, 10:60] + rows[10:60], dim=-1)
    search = made(rows, 5)
    whole, parts = search.hits(queries, probed), [search.hits(q, probed) for q in (queries[:, :cut], queries[:, cut:])]
    assert whole.row.tolist() == [row for part in parts for row in part.row.tolist()]
    assert whole.window.tolist() == [*parts[0].window, *(parts[1].window + cut)]
    np.testing.assert_allclose(whole.z_score, np.concatenate([part.z_score for part in parts]), atol=1e-4)


@settings(deadline=None, max_examples=30)
@given(
    track=st.integers(0, 19),
    start=st.integers(0, 100),
    query=st.integers(0, 200),
    probe=st.integers(0, 2),
    length=st.integers(16, 30),
    seed=SEEDS,
)
def test_a_line_beats_stronger_hits_by_chance(
    track: int, start: int, query: int, probe: int, length: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    along = np.arange(length)
    ratio = PROBES[probe][1]
    line = track * ROWS_PER_TRACK + start + np.round(along * ratio).astype(int)
    chance = 300
    hits = hits_of(
        [*(query + along), *rng.integers(0, 240, chance)],
        [*line, *rng.integers(0, 20 * ROWS_PER_TRACK, chance)],
        [3.5] * length + [4.0] * chance,
        [probe] * length + rng.integers(0, 3, chance).tolist(),
    )
    votes = voted(hits)
    assert max(votes, key=lambda key: votes[key]) == track
    assert votes[track] >= 3.5**2 * int(8.0 / VOTE_S)  # some stretch has 8 s of it


def test_one_vote_for_each_two_seconds() -> None:
    # four windows of the same 2 s, the best of which counts; then one of the next 2 s
    same = hits_of([40, 41, 42, 43], [50, 51, 52, 53], [3.0, 5.0, 4.0, 3.0])
    assert voted(same) == {0: 25.0}
    both = hits_of([40, 41, 42, 43, 44], [50, 51, 52, 53, 54], [3.0, 5.0, 4.0, 3.0, 4.0])
    assert voted(both) == {0: 41.0}


def test_pitches_and_places_do_not_add_up() -> None:
    pitches = hits_of([40, 44], [50, 54], [3.0, 4.0], [1, 2])
    assert voted(pitches) == {0: 16.0}
    places = hits_of([40, 44], [50, 54 + int(2 * OFFSET_S / HOP_S)], [3.0, 4.0])
    assert voted(places) == {0: 16.0}
    tracks = hits_of([40, 44], [50, 54 + ROWS_PER_TRACK], [3.0, 4.0])
    assert voted(tracks) == {0: 9.0, 1: 16.0}


def test_an_error_of_the_tempo_does_not_split_a_line() -> None:
    along = np.arange(0, int(STRETCH_S / 2 / HOP_S), 4)
    rows = 50 + np.round(along * 1.06).astype(int)  # the probe says 1.0
    assert voted(hits_of((32 + along).tolist(), rows.tolist(), [3.0] * len(along))) == {0: 9.0 * len(along)}


@settings(deadline=None, max_examples=20)
@given(count=st.integers(0, 200), seed=SEEDS)
def test_the_order_of_hits_does_not_matter(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    window, row = rng.integers(0, 240, count), rng.integers(0, 20 * ROWS_PER_TRACK, count)
    probe, strength = rng.integers(0, 3, count), rng.integers(30, 60, count) / 10
    order = rng.permutation(count)
    columns = [window, row, strength, probe]
    assert voted(hits_of(*(c.tolist() for c in columns))) == voted(hits_of(*(c[order].tolist() for c in columns)))


@settings(deadline=None, max_examples=30)
@given(times=st.lists(st.floats(0, 500), max_size=20))
def test_stretches_cover_all_times_twice(times: list[float]) -> None:
    query_s = np.array(times)
    covered = np.zeros(len(times), int)
    for middle_s, inside in stretches(query_s):
        assert (np.abs(query_s[inside] - middle_s) <= STRETCH_S / 2).all()
        covered += inside
    assert (covered == 2).all()


def test_work_counts_the_cohort_the_centres_and_the_lists() -> None:
    rows = unit(GROUP * 8, DIM, seed=0)
    search = made(rows, 4)
    assert search.work(unit(3, 10, DIM, seed=1), 4) == 30 * (DIM * len(rows) + LEADING * (4 + len(rows)))
