"""Queries searched together give the same hits as each alone, and never hits in their own track."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asid_core.matching.coarse import ExactSearch, Hits
from pipelines.search.exact import Block, Queries, add_block, divided, of_rows, runs_without

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
        Queries(unit(2, windows, 8, seed=5 + i), own if 0 <= own < len(tracks) else None)
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
