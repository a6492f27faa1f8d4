"""Compares the GPU kernel with the search on the CPU; a program, because Triton's interpreter must be on at import."""

from __future__ import annotations

import torch
from torch import Tensor

from asid_core.matching import fused
from asid_core.matching.coarse import ExactSearch

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
