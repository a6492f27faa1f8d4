"""Weights that are damaged, hostile or of another model: the error names the file, and nothing large is allocated."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from asid_core.config import load
from asid_core.model import fingerprinter
from asid_core.model.fingerprinter import Fingerprinter
from asid_core.plain_values import ConfigError

Spoil = Callable[[Path], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Fingerprinter(load("linear", ["model.encoder.dim=8", "model.name=mine"])).save(tmp_path)
    return tmp_path


def in_config(change: Callable[[dict[str, Any]], object]) -> Spoil:
    def spoil(folder: Path) -> None:
        values = json.loads((folder / "config.json").read_text())
        change(values)
        (folder / "config.json").write_text(json.dumps(values))

    return spoil


def in_tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Spoil:
    def spoil(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")

    return spoil


def written(name: str, content: bytes) -> Spoil:
    return lambda folder: (folder / name).write_bytes(content)


def replaced(name: str, make: Callable[[Path], object]) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return spoil


def truncated(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


SPOILT: dict[str, tuple[Spoil, str]] = {
    "huge bins": (in_config(lambda c: c["model"]["front_end"].update(bins=10**9)), "config.json: model.front_end.bins"),
    "huge dim": (in_config(lambda c: c["model"]["encoder"].update(dim=10**9)), "config.json: model.encoder.dim"),
    "large dim": (in_config(lambda c: c["model"]["encoder"].update(dim=1950)), r"F32 \(8, 1950\).* \(1950, 1950\)"),
    "unknown key": (in_config(lambda c: c.update(extra=1)), "config.json: unknown key extra"),
    "other model": (in_config(lambda c: c["model"].update(encoder={"kind": "gnn"})), "config.json beside it differ in"),
    "config of text": (written("config.json", b"hello"), "config.json cannot be read"),
    "config of a list": (written("config.json", b"[]"), "config.json cannot be read"),
    "config too long": (written("config.json", b" " * 2_000_000), "config.json is larger than"),
    "config not UTF-8": (written("config.json", b"\xff\xfe{}"), "config.json cannot be read"),
    "truncated": (truncated, "model.safetensors is damaged"),
    "empty": (written("model.safetensors", b""), "model.safetensors is damaged"),
    "no tensors": (written("model.safetensors", b"{}"), "model.safetensors is damaged"),
    "header too long": (written("model.safetensors", b"\xff" * 64), "model.safetensors is damaged"),
    "a pipe": (replaced("model.safetensors", os.mkfifo), "model.safetensors is not a regular file"),
    "a folder": (replaced("model.safetensors", Path.mkdir), "model.safetensors is not a regular file"),
    "gone": (replaced("model.safetensors", lambda path: None), "model.safetensors is not a regular file"),
    "a tensor more": (in_tensors(lambda t: t.update(more=torch.zeros(1))), "differ in more"),
    "a tensor less": (in_tensors(lambda t: t.pop("encoder.mean")), "differ in encoder.mean"),
    "other type": (in_tensors(lambda t: t.update({"encoder.mean": t["encoder.mean"].long()})), "encoder.mean is I64"),
    "NaN": (in_tensors(lambda t: t["encoder.components"][3].fill_(torch.nan)), "encoder.components holds NaN"),
    "infinity": (in_tensors(lambda t: t["encoder.mean"][0].fill_(torch.inf)), "encoder.mean holds NaN or infinity"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_damage_is_named_before_a_model_is_made(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil, message = SPOILT[name]
    spoil(folder)
    monkeypatch.setattr(fingerprinter, "front_end_of", lambda config: pytest.fail("a front end was made"))
    with pytest.raises(ConfigError, match=message):
        Fingerprinter.from_pretrained(folder)


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir])
def test_a_config_that_is_no_file_is_no_weights(folder: Path, make: Callable[[Path], object]) -> None:
    replaced("config.json", make)(folder)
    with pytest.raises(FileNotFoundError, match="config.json"):
        Fingerprinter.from_pretrained(folder)
