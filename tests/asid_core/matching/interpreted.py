"""Compares the GPU kernel with the search on the CPU; a program, because Triton's interpreter must be on at import."""

from __future__ import annotations

import torch
from torch import Tensor

from asid_core.config import FirstPassConfig
from asid_core.matching import coarse, fused, fused_groups
from asid_core.matching.coarse import GROUP, ExactSearch

# rows, windows, probes, dimensions, rows in a group
SHAPES = [
    (130, 2, 5, 32, 16),
    (1000, 1, 225, 128, 8),
    (257, 3, 75, 96, 1),
    (16, 1, 1, 256, 16),
    (1, 2, 64, 64, 4),
    (70, 3, 2, 600, 16),
]


def codes(*shape: int) -> Tensor:
    return torch.randint(-127, 128, shape, dtype=torch.int8)


for rows, windows, probes, dims, group in SHAPES:
    references, queries = codes(rows, dims), codes(windows * probes, dims)
    best = torch.empty(-(-rows // group), windows, dtype=torch.int32)
    fused.best_in_groups(references, queries, probes, group, best)
    search = ExactSearch(torch.zeros(probes, windows, dims), 1)
    search.eight_bits = True
    wanted = search._best_in_groups(references, queries, probes, group, torch.empty_like(best))
    assert torch.equal(best, wanted), (rows, windows, probes, dims, group)


# candidates: of one window a tile and a half, of one none; the last group lacks rows; long vectors; equal scores
for rows, probes, dims in [(301, 5, 32), (301, 75, 96), (301, 3, 512)]:
    references, queries = codes(rows, dims), codes(3 * probes, dims)
    queries[1] = queries[0]
    search = ExactSearch(torch.zeros(probes, 3, dims), 1)
    search._whole = queries
    pairs = torch.tensor([(0, group) for group in range(12)] + [(2, 3), (2, 18)])
    of_pairs = (pairs[:, 1:] * GROUP + torch.arange(GROUP)).clamp(max=rows - 1)
    found = fused_groups.best_in_candidates(references, queries, probes, GROUP, pairs)
    for one, other in zip(found, search._best_by_codes(slice(0, 3), references, pairs, of_pairs), strict=True):
        assert torch.equal(one.long(), other.long()), (rows, probes, dims)

# the whole search, as on a GPU
coarse.first_pass_type = lambda _: torch.int8  # type: ignore[assignment]
table, noise = torch.randn(700, 64), torch.randn(9, 3, 64)
queries = torch.nn.functional.normalize(table[100:600:200] + noise, dim=2)
searches = []
for with_kernels in (False, True):
    search = ExactSearch(queries, 10, FirstPassConfig(stride=2, dims=32, probes=3))
    search._fused = with_kernels
    for start in (0, 350):
        search.add(torch.nn.functional.normalize(table[start : start + 350], dim=1), start)
    searches.append(search.hits())
for column in ("window", "probe", "row"):
    assert (getattr(searches[0], column) == getattr(searches[1], column)).all(), column
assert abs(searches[0].cosine - searches[1].cosine).max() < 1e-6 and len(searches[0].row) == 30
