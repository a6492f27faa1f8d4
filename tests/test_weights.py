"""The weights we ship."""

from __future__ import annotations

import json

import pytest
import torch

from asid_core import config
from asid_core.model.fingerprinter import Fingerprinter, weights_directory
from asid_core.plain_values import to_dict

SHIPPED = ["discriminant", "gnn", "gnn-paper", "linear", "resnet-ibn"]


@pytest.mark.parametrize("name", SHIPPED)
def test_their_config_is_the_named_one(name: str) -> None:
    stored = weights_directory(name).joinpath("config.json").read_text()
    assert json.loads(stored) == to_dict(config.load(name)), "write config.json again after a change of config"


@pytest.mark.parametrize("name", SHIPPED)
def test_they_fingerprint_noise_and_silence(name: str) -> None:
    model = Fingerprinter.from_pretrained(name)
    noise = torch.randn(6 * 16_000, generator=torch.Generator().manual_seed(0)) * 0.1
    vectors = model.fingerprint(noise).vectors
    assert len(vectors) > 1
    assert torch.allclose(vectors.norm(dim=1), torch.ones(len(vectors)), atol=1e-3)
    assert model.fingerprint(torch.zeros(6 * 16_000)).vectors.isfinite().all()
