from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from asid_core.config import Config, ScoreConfig, load
from asid_core.learning.growth import from_discriminant, with_leading_first
from asid_core.model.fingerprinter import Fingerprinter
from asid_core.model.linear import centred_roots
from asid_core.plain_values import ConfigError


def components_of(model: Fingerprinter) -> torch.Tensor:
    components = model.encoder.components
    assert isinstance(components, torch.Tensor)
    return components


def small() -> tuple[Config, Fingerprinter]:
    config = load("gnn", ["model.encoder.channels=[8]", "model.encoder.blocks=[1]", "model.encoder.dim=16"])
    start = Fingerprinter(load("discriminant", ["model.encoder.dim=32"]))
    components_of(start).copy_(torch.randn(32, 78 * 13, generator=torch.Generator().manual_seed(0)))
    return config, start


def windows(count: int = 6) -> torch.Tensor:
    found = torch.rand(count, 78, 13, generator=torch.Generator().manual_seed(1)).pow(4)
    found[0] = 0
    return found / found.norm(dim=(1, 2), keepdim=True).clamp(min=1e-9)


def test_it_starts_as_the_discriminant_does() -> None:
    config, start = small()
    model = from_discriminant(config, start).eval()
    components = components_of(start)[:16]
    expected = torch.nn.functional.normalize(centred_roots(windows()) @ components.T, dim=1)
    vectors, nodes = model.encoder(windows())
    assert torch.allclose(vectors, expected, atol=1e-5)
    assert not vectors[0].any() and vectors[1:].norm(dim=1).allclose(torch.ones(5))
    assert nodes is not None and nodes.shape == (6, 8, 26)


def test_gains_learn_and_change_what_counts() -> None:
    torch.manual_seed(0)
    config, start = small()
    model = from_discriminant(config, start).train()
    optimiser = torch.optim.Adam(model.encoder.parameters(), lr=0.02)
    before = model.encoder(windows())[0].detach()
    for _ in range(5):
        optimiser.zero_grad()
        vectors, _ = model.encoder(windows())
        (vectors[1] @ vectors[2]).neg().backward()
        optimiser.step()
    after = model.encoder(windows())[0].detach()
    assert after[1] @ after[2] > before[1] @ before[2] + 0.1
    assert all(p.grad is not None for p in model.encoder.parameters())


def test_each_node_weighs_its_own_patch() -> None:
    config, start = small()
    model = from_discriminant(config, start).eval()
    encoder: Any = model.encoder
    nodes = torch.zeros(1, 26, 8)
    nodes[0, 2, 0] = 1.0  # third patch from below
    with torch.no_grad():
        encoder.gains.weight[:, 0] = 100.0
        weighed = encoder.weighed(torch.ones(1, 78, 13), nodes)
    expected = torch.ones(78, 13)
    expected[6:9] = 2
    assert torch.allclose(weighed[0], expected)


def test_the_reranker_of_the_start_goes_on() -> None:
    config, start = small()
    model = from_discriminant(config, start)
    assert start.reranker is not None and model.reranker is not None
    for name, value in start.reranker.state_dict().items():
        assert torch.equal(model.reranker.state_dict()[name], value)


def test_without_a_reranker_the_score_does_not_count_on_one() -> None:
    config, _ = small()
    bare = ["model.encoder.dim=32", "model.reranker.kind=attention", "model.reranker.heads=0"]
    model = from_discriminant(config, Fingerprinter(load("discriminant", bare)))
    assert config.model.reranker.kind == "aligned" and model.reranker is None
    assert config.score != ScoreConfig() == model.config.score


def test_leading_dimensions_agree_most_and_cosines_stay() -> None:
    model = from_discriminant(*small()).eval()
    references = windows(200)[1:]
    queries = references + 0.1 * windows(400)[201:]
    turned = with_leading_first(model, references, queries)
    (before, mixed), (after, turned_mixed) = (
        (one.encoder(references)[0], one.encoder(queries)[0]) for one in (model, turned)
    )
    assert torch.allclose(before @ mixed.T, after @ turned_mixed.T, atol=1e-5)
    agreement = (after * turned_mixed).sum(0)
    assert (agreement.diff() < 1e-4).all()
    assert (after * turned_mixed).sum(0)[:8].sum() > (before * mixed).sum(0)[:8].sum()


def test_windows_of_broken_patches_are_refused() -> None:
    with pytest.raises(ConfigError, match="patch_bins"):
        Fingerprinter(load("gnn", ["model.encoder.patch_frames=4"]))
    with pytest.raises(ConfigError, match="one stage"):
        Fingerprinter(load("gnn", ["model.encoder.channels=[8,16]", "model.encoder.blocks=[1,1]"]))
    config, start = small()
    with pytest.raises(ValueError, match="starts from"):
        from_discriminant(load("gnn-paper"), start)
    with pytest.raises(ValueError, match="fewer than"):
        from_discriminant(replace(config, model=load("gnn", ["model.encoder.dim=64"]).model), start)
