"""The network that compares a query with the reference aligned to it."""

from __future__ import annotations

import torch

from asid_core.model.aligned_reranker import PATCH, AlignedReranker, aligned_patches


def test_it_judges_each_pair_by_itself() -> None:
    torch.manual_seed(0)
    reranker = AlignedReranker(4).eval()
    whitened = torch.rand(6, PATCH.bins, PATCH.window_frames)
    whitened[5] = 0  # silence
    patches = aligned_patches(whitened)
    assert patches.shape == (6, *PATCH.patch_size)
    together = reranker(patches, patches.flip(0))
    assert together.shape == (6,) and together.isfinite().all()
    alone = torch.cat([reranker(patches[i : i + 1], patches[5 - i : 6 - i]) for i in range(6)])
    assert torch.allclose(together, alone, atol=1e-5)


def test_loudness_does_not_count() -> None:
    torch.manual_seed(0)
    reranker = AlignedReranker(4).eval()
    queries, references = (aligned_patches(torch.rand(3, PATCH.bins, PATCH.window_frames)) for _ in range(2))
    assert torch.allclose(reranker(queries, references), reranker(3 * queries, references / 2), atol=1e-4)
