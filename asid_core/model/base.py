"""What every encoder offers."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class Encoder(nn.Module, ABC):
    """Patches -> vectors and, for a graph network, nodes."""

    # Windows in one forward pass on a CPU. The widest layer of a full-size network takes 260 KB per window, and a CPU
    # is slower once 64 of them overflow its cache (20 windows/s against 29 at 32).
    cpu_windows_per_batch = 32
    may_use_bfloat16 = False  # at inference

    @abstractmethod
    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor | None]:
        """Patches [B, bins, frames] -> (vectors [B, dim] L2-normalised float32, nodes [B, C, N] or None).

        A silent patch gives the zero vector.
        """

    def projection(self) -> Tensor:
        """The matrix [dim, bins * frames] that projects a patch. Raises ValueError for an encoder that has none."""
        raise ValueError(f"{type(self).__name__} has no projection")

    def for_inference(self, dtype: torch.dtype) -> Encoder:
        """The same encoder as fast as it gets, in `dtype` if it may use that; not for training."""
        return self
