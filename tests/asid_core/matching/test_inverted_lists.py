"""Inverted lists, compared with all products."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from asid_core.matching import inverted_lists
from asid_core.matching.inverted_lists import InvertedLists, nearest

DIM, LEADING = 16, 8
SEEDS = st.integers(0, 2**16)


def codes(count: int, seed: int) -> Tensor:
    return torch.randint(-60, 61, (count, DIM), generator=torch.Generator().manual_seed(seed), dtype=torch.int8)


def found(
    lists: InvertedLists, queries: Tensor, floors: Tensor, probed: int, before: Tensor | None = None
) -> set[tuple[int, int, int]]:
    """(vector, row, score) of a search; fails if a pair is found twice."""
    parts = list(lists.search(queries, floors, probed, before))
    triples = [t for p in parts for t in zip(p.vector.tolist(), p.row.tolist(), p.score.tolist(), strict=True)]
    assert len(set(triples)) == len(triples)
    return set(triples)


def brute_force(rows: Tensor, queries: Tensor, floors: Tensor) -> set[tuple[int, int, int]]:
    leading = queries[:, :LEADING].int() @ rows[:, :LEADING].int().T
    scores = queries.int() @ rows.int().T
    return {(v, r, int(scores[v, r])) for v, r in (leading > floors[:, None]).nonzero().tolist() if rows[r].any()}


@settings(deadline=None, max_examples=40)
@given(rows=st.integers(0, 120), vectors=st.integers(1, 40), lists=st.integers(1, 30), seed=SEEDS)
def test_all_lists_find_what_all_products_find(rows: int, vectors: int, lists: int, seed: int) -> None:
    table, queries = codes(rows, seed), codes(vectors, seed + 1)
    floors = torch.randint(-5000, 9000, (vectors,), generator=torch.Generator().manual_seed(seed), dtype=torch.int32)
    searched = InvertedLists.of(table, LEADING, lists, seed=seed)
    assert found(searched, queries, floors, lists) == brute_force(table, queries, floors)


@settings(deadline=None, max_examples=20)
@given(probed=st.integers(1, 8), seed=SEEDS)
def test_few_lists_find_what_lies_in_the_nearest(probed: int, seed: int) -> None:
    table, queries = codes(200, seed), codes(20, seed + 1)
    lists, floors = InvertedLists.of(table, LEADING, 12, seed=seed), torch.full((20,), 1500, dtype=torch.int32)
    of_row, near = (
        nearest(table[:, :LEADING], lists.centres, 1)[:, 0],
        nearest(queries[:, :LEADING], lists.centres, probed),
    )
    wanted = {t for t in brute_force(table, queries, floors) if of_row[t[1]] in near[t[0]]}
    assert found(lists, queries, floors, probed) == wanted
    compared = sum(int((of_row == which).sum()) for row in near.tolist() for which in row)
    assert lists.work(queries, probed) == (compared + 20 * 12) * LEADING


@settings(deadline=None, max_examples=20)
@given(stride=st.integers(1, 4), seed=SEEDS)
def test_only_every_stride_th_row_before_the_limit_of_its_vector_is_compared(stride: int, seed: int) -> None:
    table, queries = codes(120, seed), codes(20, seed + 1)
    before = torch.randint(130, (20,), generator=torch.Generator().manual_seed(seed))
    lists, floors = InvertedLists.of(table, LEADING, 6, stride), torch.full((20,), 500, dtype=torch.int32)
    wanted = {t for t in brute_force(table, queries, floors) if t[1] % stride == 0 and t[1] < before[t[0]]}
    assert found(lists, queries, floors, 6, before) == wanted
    whole = {t for t in found(lists, queries, floors, 2) if t[1] < before[t[0]]}
    assert found(lists, queries, floors, 2, before) == whole


@settings(deadline=None, max_examples=20)
@given(seed=SEEDS)
def test_the_order_of_rows_does_not_matter(seed: int) -> None:
    table, queries, floors = codes(90, seed), codes(10, seed + 1), torch.full((10,), 2000, dtype=torch.int32)
    order = torch.randperm(90, generator=torch.Generator().manual_seed(seed))
    moved = found(InvertedLists.of(table[order], LEADING, 7), queries, floors, 7)
    assert {(v, int(order[r]), s) for v, r, s in moved} == found(
        InvertedLists.of(table, LEADING, 7), queries, floors, 7
    )


@settings(deadline=None, max_examples=20)
@given(cut=st.integers(1, 29), probed=st.integers(1, 7), seed=SEEDS)
def test_vectors_may_be_searched_together_or_apart(cut: int, probed: int, seed: int) -> None:
    lists, queries = InvertedLists.of(codes(90, seed), LEADING, 7), codes(30, seed + 1)
    floors = torch.full((30,), 2000, dtype=torch.int32)
    apart = found(lists, queries[:cut], floors[:cut], probed)
    apart |= {(v + cut, r, s) for v, r, s in found(lists, queries[cut:], floors[cut:], probed)}
    assert found(lists, queries, floors, probed) == apart


def test_tiles_do_not_change_what_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    table, queries, floors = codes(200, 1), codes(50, 2), torch.full((50,), 1000, dtype=torch.int32)
    lists = InvertedLists.of(table, LEADING, 3)
    whole = found(lists, queries, floors, 2)
    monkeypatch.setattr(inverted_lists, "TILE", 20)
    assert found(lists, queries, floors, 2) == whole
    monkeypatch.setattr(inverted_lists, "PAIRS", 3)
    assert found(lists, queries, floors, 2) == whole
    monkeypatch.setattr(inverted_lists, "WANTED", 14)  # seven vectors at once
    assert found(lists, queries, floors, 2) == whole


def test_silence_is_in_no_list() -> None:
    table = codes(40, 0)
    table[10:30] = 0
    lists = InvertedLists.of(table, LEADING, 4)
    assert sorted(lists.rows.tolist()) == [*range(10), *range(30, 40)]
    assert lists.edges[-1] == 20


def test_similar_rows_share_a_list() -> None:
    kinds = codes(6, 3)
    table = kinds.repeat(50, 1)
    lists = InvertedLists.of(table, LEADING, 6, seed=5)
    inside = [lists.rows[start:stop] % 6 for start, stop in zip(lists.edges[:-1], lists.edges[1:], strict=True)]
    for kind in range(6):
        assert sum(kind in some for some in inside) == 1
