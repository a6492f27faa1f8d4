"""Reads and writes weights (a directory with config.json and model.safetensors), and computes model ids."""

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


# type of a weight -> types in which a file may store it, as named by safetensors
STORED_TYPES = {torch.float32: ("F32", "F16", "BF16"), torch.int64: ("I64",)}


class WeightsError(ConfigError):
    """Files of weights are damaged or do not fit each other. The message names the file."""


def shipped_weights() -> list[str]:
    """Names of the shipped weights."""
    return sorted(path.parent.name for path in SHIPPED.glob("*/config.json"))


def weights_directory(name_or_directory: str | Path) -> Path:
    """The directory of config.json and model.safetensors: the given one, or that of shipped weights of this name.

    Raises FileNotFoundError if there is neither.
    """
    for directory in (Path(name_or_directory), SHIPPED / str(name_or_directory)):
        if (directory / "config.json").is_file():
            return directory
    raise FileNotFoundError(
        f"no weights {str(name_or_directory)!r}. Pass a directory with config.json and model.safetensors, "
        f"or one of {', '.join(shipped_weights()) or '(none shipped)'}."
    )


def read_config(directory: Path) -> Config:
    """The config in a directory of weights. Raises ConfigError, which names the file."""
    path = directory / "config.json"
    try:
        return configs.load(str(path))
    except ConfigError as error:
        raise error if str(path) in str(error) else WeightsError(f"{path}: {error}") from error


def read_tensors(directory: Path, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Read the weights in a directory. They must have the names, shapes and types of `wanted`.

    wanted: tensors that may be on the meta device. The file's header is checked before memory is allocated.
    Raises WeightsError if the file is damaged, does not fit, or holds NaN or infinity.
    """
    path = directory / "model.safetensors"
    if not path.is_file():
        raise WeightsError(f"{path} is not a regular file. Copy both files of the weights again.")
    try:
        with safe_open(path, framework="pt") as file:
            _check_header(path, file, wanted)
            tensors = {name: file.get_tensor(name) for name in wanted}
    except SafetensorError as error:
        raise WeightsError(f"{path} is damaged ({error}). Copy the weights again.") from error
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise WeightsError(f"{path}: {name} holds NaN or infinity. Train or copy the weights again.")
    return tensors


def _check_header(path: Path, file: Any, wanted: Mapping[str, Tensor]) -> None:
    """Raise WeightsError unless the file's tensors have the names, shapes and types of `wanted`."""
    missing = wanted.keys() ^ set(file.keys())
    if missing:
        raise WeightsError(f"{path} and the config.json beside it differ in {', '.join(sorted(missing)[:5])}")
    for name, tensor in wanted.items():
        part = file.get_slice(name)
        shape, dtype = tuple(part.get_shape()), part.get_dtype()
        if shape != tuple(tensor.shape) or dtype not in STORED_TYPES[tensor.dtype]:
            raise WeightsError(
                f"{path}: {name} is {dtype} {shape}, but {STORED_TYPES[tensor.dtype][0]} {tuple(tensor.shape)} in the "
                "config.json beside it. Use two files that were saved together."
            )


def write(directory: Path, config: Config, tensors: Mapping[str, Tensor]) -> None:
    """Write config.json and model.safetensors."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(configs.stated(config))
    save_file({name: value.contiguous() for name, value in tensors.items()}, directory / "model.safetensors")


def identify(config: ModelConfig, encoder: Mapping[str, Tensor]) -> str:
    """The model id: 12 hex digits that depend on the encoder's weights and the model's config, not on the reranker.

    Fingerprint tables are named after it, so the id of an existing model must never change.
    """
    section = to_dict(config)
    del section["reranker"]
    digest = hashlib.blake2b(json.dumps(section, sort_keys=True).encode(), digest_size=6)
    for name, value in sorted(encoder.items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
