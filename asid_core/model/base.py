"""The interface of encoders."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from asid_core.signal.probing import moved, normalised


class Encoder(nn.Module, ABC):
    """Patches -> vectors and, for a graph network, nodes."""

    # Windows per forward pass on a CPU. The widest layer of a full-size network takes 260 KB per window, and larger
    # batches overflow the CPU's cache, which is slower.
    cpu_windows_per_batch = 32
    may_use_bfloat16 = False  # for inference
    needs_gpu = True  # to be fast; a projection takes less time than the CPU needs to read and transform the audio

    @abstractmethod
    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor | None]:
        """Patches [B, bins, frames] -> (vectors [B, dim] L2-normalised float32, nodes [B, C, N] or None).

        A silent patch gives the zero vector.
        """

    def shifted(self, patches: Tensor, shifts: Sequence[int], windows_per_batch: int) -> Tensor:
        """Vectors [len(shifts), n, dim] of patches [n, bins, frames], each moved down by every number of bins first.

        The patches need not be normalised.
        """
        parts = [normalised(moved(patches, shift)).split(windows_per_batch) for shift in shifts]
        return torch.stack([torch.cat([self(part)[0] for part in some]) for some in parts])

    def projection(self) -> Tensor:
        """The projection matrix [dim, bins * frames] for patches. Raises ValueError for an encoder without one."""
        raise ValueError(f"{type(self).__name__} has no projection")

    def for_inference(self, dtype: torch.dtype) -> Encoder:
        """A version optimised for inference, in `dtype` if the encoder supports it. Not for training."""
        return self
