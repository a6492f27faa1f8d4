"""Weights on disk: a directory with config.json and model.safetensors, and the id of the model in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from asid_core import config as configs
from asid_core.config import Config, ModelConfig
from asid_core.plain_values import ConfigError, to_dict

SHIPPED = Path(str(resources.files("asid_core"))) / "weights"


# the types, as safetensors names them, that a weight of a model may be stored in
STORED_TYPES = {torch.float32: ("F32", "F16", "BF16"), torch.int64: ("I64",)}


class WeightsError(ConfigError):
    """Files of weights that are damaged or do not fit together; the message names the file."""


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
    """The config of a directory of weights. Raises ConfigError, which names the file."""
    path = directory / "config.json"
    try:
        return configs.load(str(path))
    except ConfigError as error:
        raise error if str(path) in str(error) else WeightsError(f"{path}: {error}") from error


def read_tensors(directory: Path, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights in a directory, of the names, shapes and types of `wanted`, which may be on the meta device.

    Nothing is allocated before the file's header agrees with `wanted`. Raises WeightsError.
    """
    path = directory / "model.safetensors"
    if not path.is_file():
        raise WeightsError(f"{path} is no regular file: copy the weights again, both files of them")
    try:
        with safe_open(path, framework="pt") as file:
            _check_header(path, file, wanted)
            tensors = {name: file.get_tensor(name) for name in wanted}
    except SafetensorError as error:
        raise WeightsError(f"{path} is damaged ({error}): copy the weights again") from error
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise WeightsError(f"{path}: {name} holds NaN or infinity: train or copy the weights again")
    return tensors


def _check_header(path: Path, file: Any, wanted: Mapping[str, Tensor]) -> None:
    """Raise WeightsError unless the file holds tensors of the names, shapes and types of `wanted`."""
    missing = wanted.keys() ^ set(file.keys())
    if missing:
        raise WeightsError(f"{path} and the config.json beside it differ in {', '.join(sorted(missing)[:5])}")
    for name, tensor in wanted.items():
        part = file.get_slice(name)
        shape, dtype = tuple(part.get_shape()), part.get_dtype()
        if shape != tuple(tensor.shape) or dtype not in STORED_TYPES[tensor.dtype]:
            raise WeightsError(
                f"{path}: {name} is {dtype} {shape}, the config.json beside it makes it "
                f"{STORED_TYPES[tensor.dtype][0]} {tuple(tensor.shape)}: use the two files that were saved together"
            )


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
