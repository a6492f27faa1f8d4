"""Training of the aligned reranker on windows of candidates."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from asid_core.config import TrainingConfig
from asid_core.learning.aligned import Windows, area_under_curve, fit
from asid_core.model.aligned_reranker import PATCH, AlignedReranker

SHORT = TrainingConfig(reranker_steps=40, reranker_learning_rate=5e-3, warmup_steps=5)


def drawn(count: int, seed: int) -> Windows:
    """Half of the queries are a mix of their reference and something else, the others of two other things."""
    generator = torch.Generator().manual_seed(seed)
    shape = (count, *PATCH.patch_size)
    one, two, three = (
        torch.rand(shape, generator=generator) * (torch.rand(shape, generator=generator) > 0.8) for _ in range(3)
    )
    right = torch.arange(count) % 2 == 0
    queries = torch.maximum(torch.where(right[:, None, None], one, three), two)
    return Windows(queries.half(), one.half(), right, torch.ones(count))


def trained(windows: Windows, training: TrainingConfig = SHORT) -> AlignedReranker:
    torch.manual_seed(0)
    reranker = AlignedReranker(channels=4)
    fit(reranker, windows, training)
    return reranker


def test_it_learns_to_tell_samples_from_false_candidates() -> None:
    reranker = trained(drawn(128, seed=0))
    assert not reranker.training
    assert area_under_curve(reranker, drawn(64, seed=1)) > 0.9


def test_the_same_windows_give_the_same_weights_whatever_was_drawn_before() -> None:
    few = replace(SHORT, reranker_steps=3)
    one = trained(drawn(32, seed=0), few)
    torch.rand(1)
    other = trained(drawn(32, seed=0), few)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("label", [True, False])
def test_windows_of_one_label_are_refused(label: bool) -> None:
    windows = drawn(16, seed=0)
    with pytest.raises(ValueError, match="use a larger benchmark"):
        trained(replace(windows, right=torch.full((16,), label)))


def test_windows_without_weight_are_never_drawn() -> None:
    windows = drawn(32, seed=0)
    broken = torch.arange(32) >= 16
    queries = windows.queries.masked_fill(broken[:, None, None], torch.nan)
    reranker = trained(replace(windows, queries=queries, weights=(~broken).float()), replace(SHORT, reranker_steps=5))
    assert all(parameter.isfinite().all() for parameter in reranker.parameters())
