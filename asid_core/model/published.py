"""Import of the authors' published checkpoints (encoder and reranker, as torch.save wrote them)."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from asid_core.config import Config, GnnConfig, RerankerConfig
from asid_core.model.fingerprinter import Fingerprinter

# their names -> ours, tried in order on the whole key
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
    """The authors' weights as a model of ours, shaped by `config` with graph blocks off (DESIGN section 4, note 1).

    Without `reranker_path` the model has no reranker. Raises ValueError where the file is no such checkpoint or does
    not fit the config: every key must be used, and every weight given.
    """
    encoder = config.model.encoder
    if not isinstance(encoder, GnnConfig):
        raise ValueError("published checkpoints need a config whose encoder.kind is gnn: use --config gnn-paper")
    heads = 0 if reranker_path is None else config.model.reranker.heads or RerankerConfig().heads
    model = Fingerprinter(
        replace(
            config,
            model=replace(
                config.model,
                encoder=replace(encoder, graph_blocks=False),
                reranker=replace(config.model.reranker, heads=heads),
            ),
        )
    )
    _load(model.encoder, _read(encoder_path), _ENCODER_NAMES, encoder_path)
    if reranker_path is not None and model.reranker is not None:
        _load(model.reranker, _read(reranker_path), _RERANKER_NAMES, reranker_path)
    return model.eval()


def _read(path: Path) -> dict[str, Tensor]:
    """The state dict of a checkpoint, bare or under `state_dict`, without DataParallel's `module.` prefix."""
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # pickle, zip and torch each raise their own
        raise ValueError(f"{path} is no checkpoint that can be read safely (weights_only): {error}") from error
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path} holds no state dict: expected torch.save of one, or of a dict with 'state_dict'")
    return {key.removeprefix("module."): value for key, value in state.items()}


def _load(module: nn.Module, state: dict[str, Tensor], names: list[tuple[str, str]], path: Path) -> None:
    """Load strictly both ways; the message lists what does not fit."""
    own = module.state_dict()
    renamed: dict[str, Tensor] = {}
    problems: list[str] = []
    for key, value in state.items():
        name = _renamed(key, names)
        if name not in own:
            problems.append(f"unexpected {key}")
            continue
        # 1x1 convolutions are linear layers here, the position embedding has no batch of 1
        if value.numel() != own[name].numel() or _squeezed(value) != _squeezed(own[name]):
            problems.append(f"{key} is {tuple(value.shape)}, the config makes it {tuple(own[name].shape)}")
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
