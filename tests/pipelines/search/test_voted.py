"""Votes choose the tracks that are searched exactly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asid_core.config import Config, FirstPassConfig, ProbesConfig, SearchConfig
from asid_core.matching import votes
from asid_core.matching.coarse import GROUP, ExactSearch
from asid_core.matching.eight_bits import quantised, restored, step
from asid_core.matching.inverted_lists import InvertedLists
from pipelines.search import voted as module
from pipelines.search.exact import ExactReferences, Queries, References
from pipelines.search.voted import BACKGROUND_GROUPS, VotedReferences, VoteTable, cohort, vote_table
from pipelines.store.catalogue import Catalogue
from tests.pipelines.search.test_index import CENTRES_S, DIM, TRACKS, WINDOWS, random_walks, references, rows

CONFIG = Config(
    probes=ProbesConfig((0.0,), (1.0,)),
    search=SearchConfig(exact_below_rows=1000, hits_per_window=5, first_pass=FirstPassConfig(stride=2)),
)
ORDER = np.random.default_rng(0).permutation(TRACKS).astype(np.int32)


@pytest.fixture()
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    with random_walks(tmp_path / "c") as made:
        yield made


def made(catalogue: Catalogue, chosen: References) -> VotedReferences:
    table = vote_table(catalogue.location.uri, chosen, CONFIG)
    for values in vars(table).values():
        values.flags.writeable = False  # as Ray returns them
    return VotedReferences(table, chosen, CONFIG)


def vectors_of(track: int, windows: slice = slice(None)) -> torch.Tensor:
    stored = torch.tensor(rows(track, 0).column("vector").flatten().to_numpy()).view(1, WINDOWS, DIM)
    return stored[:, windows]


def test_every_row_that_counts_is_in_the_table_track_after_track(catalogue: Catalogue) -> None:
    chosen = replace(references(catalogue, hashes={5: "changed since"}), order=ORDER)
    table = vote_table(catalogue.location.uri, chosen, CONFIG)
    counts = np.diff(table.first_rows)
    assert counts[ORDER[5]] == 0 and (np.delete(counts, ORDER[5]) == WINDOWS - 1).all()  # without the silent one
    assert (ORDER[table.tracks] == np.arange(TRACKS)).all()
    assert (table.place == np.repeat(np.arange(TRACKS), counts)).all()
    for track in (0, 7):
        inside = slice(*table.first_rows[ORDER[track] : ORDER[track] + 2])
        loud = np.delete(np.arange(WINDOWS), 3)
        assert table.centre_s[inside].tolist() == (loud * 0.5 + 2).tolist()
        assert torch.equal(torch.from_numpy(table.codes[inside]), quantised(vectors_of(track)[0, loud], step(DIM)))
    assert sorted(table.rows.tolist()) == list(range(0, len(table.codes), 2))  # of every second row there are lists


@pytest.mark.parametrize("ordered", [False, True])
def test_a_passage_of_another_track_is_found_as_by_the_exact_search(
    catalogue: Catalogue, ordered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MIN_Z_SCORE", "LEADING_Z_SCORE"):  # in so few dimensions, nothing has a z-score of 3
        monkeypatch.setattr(votes, name, 0.5)
    chosen = replace(references(catalogue), order=ORDER if ordered else None)
    exact, voted = ExactReferences(catalogue, chosen, CONFIG), made(catalogue, chosen)
    passage = slice(20, 80)
    sampled = [(0, 1), (1, 0), (4, None), (5, 5), (8, 20), (20, 8)]  # and the track that samples it
    queries = [Queries(vectors_of(one, passage), CENTRES_S[passage], own) for one, own in sampled]
    for (one, own), mine, theirs in zip(sampled, voted.search(queries), exact.search(queries), strict=True):
        is_searched = own != one and (own is None or not ordered or ORDER[one] < ORDER[own])
        for hits, where in ((mine, voted), (theirs, exact)):
            tracks, centres_s = where.places(hits.row)
            assert own not in tracks.tolist()
            assert own is None or not ordered or (ORDER[tracks] < ORDER[own]).all()
            # in eight bits, a neighbour may be as near
            itself = (tracks == one) & (np.abs(centres_s - CENTRES_S[passage][hits.window]) <= 1)
            assert set(hits.window[itself].tolist()) == (set(range(60)) if is_searched else set())


@settings(deadline=None, max_examples=15)
@given(tracks=st.lists(st.integers(1, 60), min_size=3, max_size=12), best=st.integers(1, 4), seed=st.integers(0, 999))
def test_only_the_best_tracks_by_votes_are_compared(tracks: list[int], best: int, seed: int) -> None:
    """And each row of these, as an exact search of these rows alone does."""
    table = walk_table(tracks, seed)
    chosen = References("m", 1, None, 4.0, 0.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BEST", best)
        patch.setattr(module, "SHARE", 1.0)
        voted = VotedReferences(table, chosen, CONFIG)
        codes = torch.from_numpy(table.codes)
        true = seed % len(tracks)
        mine = slice(*table.first_rows[true : true + 2].tolist())
        query = Queries(restored(codes[mine])[None], table.centre_s[mine].astype(np.float64), own=None)
        (hits,) = voted.search([query])
        inside = np.flatnonzero(np.isin(table.place, next(voted._chosen([query]))))
    assert set(table.place[hits.row].tolist()) <= set(table.place[inside].tolist())
    assert len(np.unique(table.place[inside])) <= best
    alone = ExactSearch(query.vectors, 5, CONFIG.first_pass)
    alone.add(codes[torch.from_numpy(inside)], 0, background=cohort(codes, BACKGROUND_GROUPS))
    for name in ("window", "cosine", "z_score"):
        assert getattr(hits, name).tolist() == getattr(alone.hits(), name).tolist()
    assert hits.row.tolist() == inside[alone.hits().row].tolist()


@settings(deadline=None, max_examples=15)
@given(tracks=st.lists(st.integers(1, 40), min_size=4, max_size=10), ordered=st.booleans(), seed=st.integers(0, 999))
def test_queries_may_be_searched_together_or_apart(tracks: list[int], ordered: bool, seed: int) -> None:
    table = walk_table(tracks, seed)
    order = np.arange(len(tracks), dtype=np.int32) if ordered else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BEST", 2)
        patch.setattr(module, "SHARE", 1.0)
        voted = VotedReferences(table, References("m", 1, None, 4.0, 0.5, order), CONFIG)
        queries = []
        for own in (0, 3, 1, None):
            mine = slice(*table.first_rows[(own or 2) : (own or 2) + 2].tolist())
            vectors = restored(torch.from_numpy(table.codes[mine]))[None]
            queries.append(Queries(vectors, table.centre_s[mine].astype(np.float64), own))
        together, apart = voted.search(queries), [voted.search([query])[0] for query in queries]
    assert voted.search([]) == []
    for one, other in zip(together, apart, strict=True):
        for name in ("window", "probe", "row", "cosine", "z_score"):
            assert getattr(one, name).tolist() == pytest.approx(getattr(other, name).tolist(), abs=1e-6)


def walk_table(tracks: list[int], seed: int) -> VoteTable:
    """References of so many rows each, in their order."""
    rng = np.random.default_rng(seed)
    codes = quantised(
        torch.nn.functional.normalize(torch.from_numpy(rng.standard_normal((sum(tracks), DIM))), dim=1).float(),
        step(DIM),
    )
    lists = InvertedLists.of(codes, DIM, 4, 2)
    place = np.repeat(np.arange(len(tracks), dtype=np.int32), tracks)
    centre_s = (np.arange(len(place)) * 0.5).astype(np.float32)
    first_rows = np.append(0, np.cumsum(tracks))
    sorted_rows = lists.centres.numpy(), lists.rows.numpy(), lists.leading.numpy(), lists.edges
    few = cohort(codes, BACKGROUND_GROUPS).numpy()
    return VoteTable(
        codes.numpy(), centre_s, place, np.arange(len(tracks), dtype=np.int32), first_rows, *sorted_rows, few
    )


@given(groups=st.integers(0, 300), rest=st.integers(0, GROUP - 1), wanted=st.integers(1, 80))
def test_the_cohort_is_made_of_whole_groups_of_neighbours(groups: int, rest: int, wanted: int) -> None:
    number = torch.arange(groups * GROUP + rest)
    rows = torch.stack([number % 100 + 1, number // 100], 1).to(torch.int8)  # each row once
    some = cohort(rows, wanted)
    assert len(some) == max(1, min(wanted, groups)) * GROUP
    if not groups:
        assert some[:rest].equal(rows) and not some[rest:].any()
        return
    starts = (some[::GROUP, 0].int() - 1) + 100 * some[::GROUP, 1].int()
    assert (starts % GROUP == 0).all() and (starts.diff() > 0).all() and starts[0] == 0
    found = (some[:, 0].int() - 1) + 100 * some[:, 1].int()
    assert (found == (starts[:, None] + torch.arange(GROUP)).flatten()).all()


def test_z_scores_are_as_in_the_exact_search(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MIN_Z_SCORE", "LEADING_Z_SCORE"):
        monkeypatch.setattr(votes, name, 0.5)
    chosen = references(catalogue)
    query = Queries(vectors_of(4, slice(20, 80)), CENTRES_S[20:80], own=None)
    (exact,), (voted,) = (
        some.search([query]) for some in (ExactReferences(catalogue, chosen, CONFIG), made(catalogue, chosen))
    )
    best = [np.maximum.reduceat(hits.z_score, np.unique(hits.window, return_index=True)[1]) for hits in (exact, voted)]
    np.testing.assert_allclose(best[1], best[0], rtol=0.15)


@pytest.mark.parametrize("probes", [9, 3])
def test_the_probes_that_vote_are_the_middle_ones_of_their_neighbours(
    catalogue: Catalogue, probes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(votes, "MIN_Z_SCORE", 0.5)
    monkeypatch.setattr(votes, "LEADING_Z_SCORE", 0.5)
    monkeypatch.setattr(module, "BEST", 1)
    tempi = tuple(1.05 ** (i - probes // 2) for i in range(probes))
    config = replace(CONFIG, probes=ProbesConfig((0.0,), tempi))
    table = vote_table(catalogue.location.uri, references(catalogue), config)
    voted = VotedReferences(table, references(catalogue), config)
    silence = torch.zeros(probes, 60, DIM)
    silence[1] = vectors_of(4, slice(20, 80))[0]  # the middle one of the first three
    silence[0] = vectors_of(9, slice(20, 80))[0]
    tracks, _ = voted.places(voted.search([Queries(silence, CENTRES_S[20:80], own=None)])[0].row)
    assert set(tracks.tolist()) == {4}


def test_a_background_that_counts_once_gives_the_z_scores_of_one_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHARE", 1.0)
    table = walk_table([60, 40, 50], 3)
    voted = VotedReferences(table, References("m", 1, None, 4.0, 0.5), CONFIG)
    query = Queries(
        restored(torch.from_numpy(table.codes[20:90]))[None], table.centre_s[20:90].astype(np.float64), None
    )
    (whole,) = voted.search([query])
    monkeypatch.setattr(module, "BLOCK_ROWS", 4 * GROUP)
    (parts,) = voted.search([query])
    # among rows by chance, which groups are scored depends on the blocks, so only the best hits are compared
    same = whole.row[::5] == parts.row[::5]
    assert same.mean() > 0.8
    np.testing.assert_allclose(parts.z_score[::5][same], whole.z_score[::5][same], atol=1e-5)
