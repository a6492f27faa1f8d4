"""Queries searched together give the same hits as each alone, and never hits in their own track."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asid_core.config import FirstPassConfig
from asid_core.matching.coarse import NO_FIRST_PASS, ExactSearch, Hits
from pipelines.search.exact import Block, Queries, add_block, divided, of_rows, places_of, runs_without

KEEP = 4


def unit(*shape: int, seed: int) -> torch.Tensor:
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(values, dim=-1)


def blocks_of(tracks: list[int], rows_per_block: int) -> list[Block]:
    """Consecutive tracks with these numbers of rows."""
    index = np.repeat(np.arange(len(tracks), dtype=np.int32), tracks)
    vectors, starts = unit(len(index), 8, seed=1), np.zeros(len(index))
    edges = range(0, len(index), rows_per_block)
    return [Block(i, vectors[i : (j := i + rows_per_block)], index[i:j], starts[i:j]) for i in edges]


def alone(query: Queries, blocks: list[Block]) -> Hits:
    search = ExactSearch(query.vectors, KEEP)
    for block in blocks:
        for start, stop in runs_without(block.tracks, query.own):
            search.add(block.vectors[start:stop], block.first_row + start)
    return search.hits()


def sorted_by(order: np.ndarray, block: Block) -> Block:
    at = np.argsort(places_of(block.tracks, order), kind="stable")
    return Block(block.first_row, block.vectors[torch.from_numpy(at)], block.tracks[at], block.start_s[at])


@given(lengths=st.lists(st.integers(0, 50), max_size=12), size=st.integers(1, 40))
def test_batches_of_any_lengths_become_batches_of_one(lengths: list[int], size: int) -> None:
    rows = np.arange(sum(lengths), dtype=np.float32)
    table = pa.table({"row": rows, "vector": pa.FixedSizeListArray.from_arrays(pa.array(rows.repeat(2)), 2)})
    starts = np.cumsum([0, *lengths])
    given = [
        b for s, n in zip(starts, lengths, strict=False) for b in table.slice(int(s), n).combine_chunks().to_batches()
    ]
    batches = list(of_rows(size, given))
    assert [len(batch) for batch in batches[:-1]] == [size] * (len(batches) - 1)
    assert sum(map(len, batches)) == len(rows) and all(1 <= len(batch) <= size for batch in batches)
    if batches:
        vectors = torch.cat([torch.from_dlpack(batch.column("vector").flatten()) for batch in batches])
        assert vectors.tolist() == rows.repeat(2).tolist()


@settings(deadline=None, max_examples=40)
@given(
    tracks=st.lists(st.integers(1, 90), min_size=1, max_size=5),
    rows_per_block=st.integers(20, 200),
    queries=st.lists(st.tuples(st.integers(1, 6), st.integers(-1, 4)), min_size=1, max_size=5),
)
def test_together_as_alone(tracks: list[int], rows_per_block: int, queries: list[tuple[int, int]]) -> None:
    blocks = blocks_of(tracks, rows_per_block)
    asked = [
        Queries(unit(2, windows, 8, seed=5 + i), np.arange(windows) * 0.5, own if 0 <= own < len(tracks) else None)
        for i, (windows, own) in enumerate(queries)
    ]
    search = ExactSearch(torch.cat([query.vectors for query in asked], 1), KEEP)
    for block in blocks:
        add_block(search, block, asked)
    divided_hits = divided(search.hits(), [query.vectors.shape[1] for query in asked])
    row_track = np.concatenate([block.tracks for block in blocks])
    for query, hits in zip(asked, divided_hits, strict=True):
        assert query.own is None or query.own not in row_track[hits.row]
        for field in dataclasses.fields(Hits):
            wanted = getattr(alone(query, blocks), field.name)
            np.testing.assert_allclose(getattr(hits, field.name), wanted, atol=1e-4, err_msg=field.name)


@settings(deadline=None, max_examples=40)
@given(
    tracks=st.lists(st.integers(1, 60), min_size=2, max_size=5),
    rows_per_block=st.integers(20, 200),
    seed=st.integers(0, 99),
    first_pass=st.sampled_from([NO_FIRST_PASS, FirstPassConfig(stride=1, probes=3), FirstPassConfig(2, 4, probes=1)]),
)
def test_each_pair_of_tracks_is_compared_once(
    tracks: list[int], rows_per_block: int, seed: int, first_pass: FirstPassConfig
) -> None:
    """By the later one of both. Its background is still the whole catalogue, so that scores are comparable."""
    order = np.random.default_rng(seed).permutation(len(tracks)).astype(np.int32)
    blocks = [sorted_by(order, block) for block in blocks_of(tracks, rows_per_block)]
    asked = [Queries(unit(3, 4, 8, seed=5 + own), np.arange(4) * 0.5, own) for own in range(len(tracks))]
    once = ExactSearch(torch.cat([query.vectors for query in asked], 1), KEEP, first_pass)
    for block in blocks:
        add_block(once, block, asked, order)
    backgrounds = [values.split(4) for values in once.background.statistics()]
    for query, hits in zip(asked, divided(once.hits(), [4] * len(asked)), strict=True):
        before, others = (ExactSearch(query.vectors, KEEP, first_pass) for _ in range(2))
        for block in blocks:
            before.add(block.vectors[torch.from_numpy(order[block.tracks] < order[query.own])], block.first_row)
            others.add(block.vectors[torch.from_numpy(block.tracks != query.own)], block.first_row)
        assert hits.row.tolist() == before.hits().row.tolist()
        if first_pass.stride:  # without, what is searched and what is not is levelled apart
            for mine, theirs in zip(backgrounds, others.background.statistics(), strict=True):
                np.testing.assert_allclose(mine[query.own or 0], theirs, atol=1e-6)
