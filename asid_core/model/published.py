"""Imports the authors' published checkpoints of encoder and reranker (torch.save files)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from asid_core.config import Config, GnnConfig, RerankerConfig
from asid_core.model.fingerprinter import Fingerprinter

# their parameter names -> ours; each pattern must match a whole key
_ENCODER_NAMES = [
    (r"peak_extractor\.convs\.0\.(.+)", r"patches.conv.\1"),
    (r"encoder\.stem\.0\.(.+)", r"stem.linear.\1"),
    (r"encoder\.stem\.1\.(.+)", r"stem.norm.\1"),
    (r"encoder\.backbone\.(\d+)\.conv\.0\.(.+)", r"layers.\1.conv.\2"),
    (r"encoder\.backbone\.(\d+)\.conv\.1\.(.+)", r"layers.\1.norm.\2"),
    (r"encoder\.backbone\.(\d+)\.0\.norm\.(.+)", r"layers.\1.norm.\2"),
    (r"encoder\.backbone\.(\d+)\.0\.fc1\.0\.(.+)", r"layers.\1.enter.linear.\2"),
    (r"encoder\.backbone\.(\d+)\.0\.fc1\.1\.(.+)", r"layers.\1.enter.norm.\2"),
    (r"encoder\.backbone\.(\d+)\.0\.conv\.nn\.0\.(.+)", r"layers.\1.relative.linear.\2"),
    (r"encoder\.backbone\.(\d+)\.0\.fc2\.0\.(.+)", r"layers.\1.leave.linear.\2"),
    (r"encoder\.backbone\.(\d+)\.0\.fc2\.1\.(.+)", r"layers.\1.leave.norm.\2"),
    (r"encoder\.backbone\.(\d+)\.1\.fc1\.(.+)", r"layers.\1.widen.linear.\2"),
    (r"encoder\.backbone\.(\d+)\.1\.bn1\.(.+)", r"layers.\1.widen.norm.\2"),
    (r"encoder\.backbone\.(\d+)\.1\.fc2\.(.+)", r"layers.\1.narrow.linear.\2"),
    (r"encoder\.backbone\.(\d+)\.1\.bn2\.(.+)", r"layers.\1.narrow.norm.\2"),
    (r"encoder\.proj\.(.+)", r"pool.\1"),
    (r"projector\.(\d)\.(.+)", r"project.\1.\2"),
]
_RERANKER_NAMES = [
    (r"positional_embedding", r"position"),
    (r"attn\.(.+)", r"attention.\1"),
    (r"fc\.(\d)\.(.+)", r"classifier.\1.\2"),
]


def import_checkpoint(encoder_path: Path, reranker_path: Path | None, config: Config) -> Fingerprinter:
    """Load the authors' weights into a model, with graph blocks off and the checkpoint's widths and stages.

    Without `reranker_path`, the model has no reranker. Raises ValueError if a file is not such a checkpoint or does not
    fit the config: every key must be used, and no weight may be missing.
    """
    encoder = config.model.encoder
    if encoder.kind != "gnn":
        raise ValueError("published checkpoints need a config with encoder.kind gnn. Use --config gnn-paper.")
    heads = 0 if reranker_path is None else config.model.reranker.heads or RerankerConfig().heads
    state = _read(encoder_path)
    reranker_state = {} if reranker_path is None else _read(reranker_path)
    hidden = _widths(reranker_state, {"hidden_dim": ("fc.0.weight", 0)})
    reranker = replace(config.model.reranker, heads=heads, **hidden)
    encoder = replace(encoder_shape(encoder, state), graph_blocks=False)
    model = Fingerprinter(replace(config, model=replace(config.model, encoder=encoder, reranker=reranker)))
    _load(model.encoder, state, _ENCODER_NAMES, encoder_path)
    if reranker_path is not None and model.reranker is not None:
        _load(model.reranker, reranker_state, _RERANKER_NAMES, reranker_path)
    return model.eval()


def encoder_shape(config: GnnConfig, state: Mapping[str, Tensor]) -> GnnConfig:
    """`config` with the widths, stages and patch size of a checkpoint, read from the shapes of its tensors."""
    sizes = _widths(
        state,
        {
            "patch_channels": ("peak_extractor.convs.0.weight", 0),
            "patch_bins": ("peak_extractor.convs.0.weight", 2),
            "patch_frames": ("peak_extractor.convs.0.weight", 3),
            "pooled_dim": ("encoder.proj.weight", 0),
            "hidden_dim": ("projector.0.weight", 0),
            "dim": ("projector.2.weight", 0),
        },
    )
    stem, layers = state.get("encoder.stem.0.weight"), _layers(state)
    if stem is None or not layers:
        return replace(config, **sizes)
    channels, blocks = [len(stem)], [0]
    for width in layers:
        if width is None:
            blocks[-1] += 1
        else:
            channels.append(width)
            blocks.append(0)
    return replace(config, **sizes, channels=tuple(channels), blocks=tuple(blocks))


def _layers(state: Mapping[str, Tensor]) -> list[int | None]:
    """The layers of the backbone in order: the output width of each downsample, None for each graph block."""
    layers: dict[int, int | None] = {}
    for key, value in state.items():
        if match := re.fullmatch(r"encoder\.backbone\.(\d+)\.(\d\.norm|conv\.0)\.weight", key):
            layers[int(match[1])] = len(value) if match[2] == "conv.0" else None
    return [layers[at] for at in sorted(layers)]


def _widths(state: Mapping[str, Tensor], where: Mapping[str, tuple[str, int]]) -> dict[str, Any]:
    """Settings by name, each read from one dimension of a tensor. Settings without a tensor are left out."""
    return {
        name: state[key].shape[dim] for name, (key, dim) in where.items() if key in state and state[key].dim() > dim
    }


def _read(path: Path) -> dict[str, Tensor]:
    """The state dict of a checkpoint, without DataParallel's `module.` prefix; it may be under a key `state_dict`."""
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is not a regular file; pass the checkpoint itself")
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # pickle, zip and torch raise various errors
        raise ValueError(f"{path} is not a checkpoint that can be read safely (weights_only): {error}") from error
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path} does not hold a state dict, either directly or under 'state_dict'")
    return {key.removeprefix("module."): value for key, value in state.items()}


def _load(module: nn.Module, state: dict[str, Tensor], names: list[tuple[str, str]], path: Path) -> None:
    """Load `state` strictly. Raises ValueError, which lists missing, unexpected and misshapen tensors."""
    own = module.state_dict()
    renamed: dict[str, Tensor] = {}
    problems: list[str] = []
    for key, value in state.items():
        name = _renamed(key, names)
        if name not in own:
            problems.append(f"unexpected {key}")
            continue
        # their 1x1 convolutions are our linear layers, and our position embedding has no batch dimension
        if value.numel() != own[name].numel() or _squeezed(value) != _squeezed(own[name]):
            problems.append(f"{key} is {tuple(value.shape)}, but {tuple(own[name].shape)} in the config")
        else:
            renamed[name] = value.reshape(own[name].shape)
    mentioned = {_renamed(key, names) for key in state}
    problems += [f"missing {name}" for name in own if name not in mentioned]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise ValueError(f"{path} does not fit the config: {'; '.join(problems[:5])}{more}")
    module.load_state_dict(renamed)


def _renamed(key: str, names: list[tuple[str, str]]) -> str | None:
    return next((re.sub(pattern, ours, key) for pattern, ours in names if re.fullmatch(pattern, key)), None)


def _squeezed(tensor: Tensor) -> tuple[int, ...]:
    return tuple(size for size in tensor.shape if size != 1)
