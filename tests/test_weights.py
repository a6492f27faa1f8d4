"""The shipped weights: their configs and ids, and that they produce fingerprints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from asid_core import config
from asid_core.model import weights
from asid_core.model.fingerprinter import Fingerprinter
from asid_core.model.weights import weights_directory
from asid_core.plain_values import to_dict

# users' fingerprint tables are named after these ids
SHIPPED = {
    "discriminant": "170fac7360f0",
    "gnn": "b501962a1b31",
    "gnn-paper": "d1854aa889f1",
    "linear": "e3d687e1663f",
    "resnet-ibn": "99663bd4ce01",
}


@pytest.mark.parametrize("name", SHIPPED)
def test_the_stored_config_is_the_named_one(name: str) -> None:
    stored = weights_directory(name).joinpath("config.json").read_text()
    assert stored == config.stated(config.load(name)), "write config.json again after a change of config"
    assert weights.read_config(weights_directory(name)) == config.load(name)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_complete_config_as_older_versions_wrote_is_read(name: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(to_dict(config.load(name))))
    assert weights.read_config(tmp_path) == config.load(name)


@pytest.mark.parametrize("name", SHIPPED)
def test_they_fingerprint_noise_and_silence(name: str) -> None:
    model = Fingerprinter.from_pretrained(name)
    generator = torch.Generator().manual_seed(0)
    beats = torch.rand(60, generator=generator).repeat_interleave(
        1600
    )  # whitening leaves almost nothing of steady noise
    noise = torch.randn(6 * 16_000, generator=generator) * 0.1 * beats
    vectors = model.fingerprint(noise).vectors
    assert len(vectors) > 1
    assert torch.allclose(vectors.norm(dim=1), torch.ones(len(vectors)), atol=1e-3)
    assert model.fingerprint(torch.zeros(6 * 16_000)).vectors.isfinite().all()


@pytest.mark.parametrize("name", SHIPPED)
def test_their_ids_never_change(name: str) -> None:
    assert Fingerprinter.from_pretrained(name).model_id == SHIPPED[name]


def test_the_id_of_loaded_weights_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Fingerprinter.from_pretrained("linear")
    monkeypatch.setattr(weights, "identify", None)
    assert model.model_id == model.for_inference().model_id == SHIPPED["linear"]
