"""Outputs of the authors' code on fixed inputs, and the config of the tiny model that produced them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from asid_core.config import Config, GnnConfig, LogMelConfig, ModelConfig, RerankerConfig

FOLDER = Path(__file__).parents[1] / "golden"
ENCODER_FILE = FOLDER / "published_format_tiny.pth"
RERANKER_FILE = FOLDER / "published_format_tiny_reranker.pth"
TINY = GnnConfig(channels=(8, 16, 32, 64), pooled_dim=96, hidden_dim=64, dim=16)
TINY_CONFIG = Config(model=ModelConfig(name="tiny", front_end=LogMelConfig(), encoder=TINY, reranker=RerankerConfig()))


@cache
def golden() -> dict[str, Tensor]:
    """The golden tensors, by name."""
    return load_file(FOLDER / "golden.safetensors")


def difference(ours: Tensor, theirs: Tensor) -> float:
    """The largest absolute difference."""
    assert ours.shape == theirs.shape
    return float((ours - theirs).detach().abs().max())
