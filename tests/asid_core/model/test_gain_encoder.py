from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from asid_core.config import Config, load
from asid_core.learning.growth import from_discriminant
from asid_core.model.fingerprinter import Fingerprinter
from asid_core.model.linear import centred_roots
from asid_core.plain_values import ConfigError


def components_of(model: Fingerprinter) -> torch.Tensor:
    components = model.encoder.components
    assert isinstance(components, torch.Tensor)
    return components


def small() -> tuple[Config, Fingerprinter]:
    config = load("gnn", ["model.encoder.channels=[8]", "model.encoder.blocks=[1]", "model.encoder.dim=16"])
    start = Fingerprinter(load("discriminant", ["model.encoder.dim=32", "model.front_end.window_frames=100"]))
    components_of(start).copy_(torch.randn(32, 78 * 25, generator=torch.Generator().manual_seed(0)))
    return config, start


def windows(count: int = 6) -> torch.Tensor:
    found = torch.rand(count, 78, 25, generator=torch.Generator().manual_seed(1)).pow(4)
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
    assert nodes is not None and nodes.shape == (6, 8, 65)


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
    nodes = torch.zeros(1, 65, 8)
    nodes[0, 5 * 2 + 3, 0] = 1.0  # third row of patches, fourth column
    with torch.no_grad():
        encoder.gains.weight[:, 0] = 100.0
        weighed = encoder.weighed(torch.ones(1, 78, 25), nodes)
    expected = torch.ones(78, 25)
    expected[12:18, 15:20] = 2
    assert torch.allclose(weighed[0], expected)


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
