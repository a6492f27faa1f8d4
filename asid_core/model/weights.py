"""Weights on disk: a directory with config.json and model.safetensors, and the id of the model in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from asid_core import config as configs
from asid_core.config import Config, ModelConfig
from asid_core.plain_values import to_dict

SHIPPED = Path(str(resources.files("asid_core"))) / "weights"


def shipped_weights() -> list[str]:
    """Names of the weights that come with asid."""
    return sorted(path.parent.name for path in SHIPPED.glob("*/config.json"))


def weights_directory(name_or_directory: str | Path) -> Path:
    """Where config.json and model.safetensors are: that directory, or the shipped one. Raises FileNotFoundError."""
    for directory in (Path(name_or_directory), SHIPPED / str(name_or_directory)):
        if (directory / "config.json").is_file():
            return directory
    raise FileNotFoundError(
        f"no weights {str(name_or_directory)!r}: give a directory with config.json and model.safetensors, "
        f"or one of {', '.join(shipped_weights()) or '(none shipped)'}"
    )


def read_config(directory: Path) -> Config:
    """The config of a directory of weights. Raises ConfigError."""
    return configs.load(str(directory / "config.json"))


def read_tensors(directory: Path, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights in a directory. Raises RuntimeError where their names are not those of `wanted`."""
    found = load_file(directory / "model.safetensors")
    missing = wanted.keys() ^ found.keys()
    if missing:
        raise RuntimeError(f"{directory}: config.json and model.safetensors differ in {sorted(missing)[:5]}")
    return found


def write(directory: Path, config: Config, tensors: Mapping[str, Tensor]) -> None:
    """Write config.json and model.safetensors."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(configs.stated(config))
    save_file({name: value.contiguous() for name, value in tensors.items()}, directory / "model.safetensors")


def identify(config: ModelConfig, encoder: Mapping[str, Tensor]) -> str:
    """12 hex digits that change with the encoder's weights or the model's config, but not with the reranker.

    Fingerprint tables are named by it, so what is hashed here must never change for a model that exists.
    """
    section = to_dict(config)
    del section["reranker"]
    digest = hashlib.blake2b(json.dumps(section, sort_keys=True).encode(), digest_size=6)
    for name, value in sorted(encoder.items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
