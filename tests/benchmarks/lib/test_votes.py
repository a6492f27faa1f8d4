"""Votes and the exact search in small tables, and the work that both report."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from asid_core import config as configs
from asid_core.config import FirstPassConfig
from asid_core.matching.coarse import GROUP
from asid_core.matching.eight_bits import quantised, step
from benchmarks.lib.synthetic import Query
from benchmarks.lib.votes import Counted, ExactRanks, voted
from benchmarks.lib.wild_rows import Rows
from pipelines.search.voted import VOTE_GROUPS, cohort

DIM, ROWS_PER_TRACK, TRACKS, HOP_S = 256, 160, 12, 0.16


def unit(*shape: int, seed: int) -> Tensor:
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def table() -> Rows:
    place = np.arange(TRACKS * ROWS_PER_TRACK)
    codes = quantised(unit(len(place), DIM, seed=0), step(DIM))
    return Rows(codes, (place // ROWS_PER_TRACK).astype(np.int32), place % ROWS_PER_TRACK * HOP_S)


def wild(rows: Rows) -> Any:
    """Two queries of 20 windows: the first is laid over track 3, the second over track 8, both at the sixth probe."""
    queries = []
    for number, track in enumerate((3, 8)):
        vectors = unit(9, 20, DIM, seed=1 + number)
        sampled = rows.codes[track * ROWS_PER_TRACK :][: 20 * 3 : 3].float()  # a query window every three rows
        vectors[4] = normalize(vectors[4] + normalize(sampled, dim=1), dim=1)
        queries.append(Query(str(number), vectors.half(), np.arange(20) * 3 * HOP_S))
    config = configs.load(
        "discriminant",
        ["probes.semitones=[-1,0,1]", "probes.tempo_ratios=[0.926,1.0,1.08]", "search.hits_per_window=20"],
    )
    return SimpleNamespace(queries=queries, config=config, references=SimpleNamespace(window_s=2.08))


def test_both_find_the_sampled_tracks_and_a_table_may_grow() -> None:
    rows = table()
    case = wild(rows)
    ranks = ExactRanks(case)
    ranks.grow(rows.first(4 * ROWS_PER_TRACK))
    grown, whole = ranks.grow(rows), ExactRanks(case).grow(rows)
    assert [one.tracks[0] for one in grown.ranked] == [3, 8]
    assert grown.work > whole.work  # a small block has no floor yet, so more groups are scored
    np.testing.assert_allclose(grown.ranked[0].scores[0], whole.ranked[0].scores[0], rtol=0.2)
    every, few = voted(case, rows, 16, (16, 4))
    assert [one.tracks[0] for one in every.ranked] == [one.tracks[0] for one in few.ranked] == [3, 8]
    vectors, held = 2 * 20 * 3, len(rows.codes) // 2
    assert every.work == vectors * (256 * len(cohort(rows.codes, VOTE_GROUPS)) + 128 * (16 + held))
    assert few.work < every.work and few.hits <= every.hits


def test_the_exact_search_counts_first_pass_and_groups() -> None:
    search = Counted(unit(3, 2, DIM, seed=0), 1, FirstPassConfig(stride=2, dims=128, probes=3))
    search.add(unit(GROUP, DIM, seed=1), 0)
    first, groups = 2 * 1 * (GROUP // 2) * 128, 2 * GROUP * 3 * DIM
    assert search.work in (first, first + groups // 2, first + groups)  # a window without a cosine above 0 has no group
