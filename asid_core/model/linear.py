"""A fixed projection of the whitened patch: principal components, nothing trained by gradient."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LinearEncoder(nn.Module):
    """Patches -> L2-normalised principal components. Fit elsewhere by filling `mean` and `components`."""

    mean: Tensor
    components: Tensor

    def __init__(self, dim: int, in_bins: int, in_frames: int) -> None:
        """Raises ValueError where a patch has fewer than `dim` values."""
        super().__init__()
        size = in_bins * in_frames
        if dim > size:
            raise ValueError(f"encoder.dim {dim} is more than the {size} values of a patch: make it smaller")
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("components", torch.eye(dim, size))

    def forward(self, patches: Tensor) -> Tensor:
        """Patches [n, bins, frames], L2-normalised or zero -> [n, dim], L2-normalised; a zero patch stays zero."""
        flat = patches.flatten(1)
        vectors = F.normalize((flat - self.mean) @ self.components.T, dim=1)
        return vectors.masked_fill((flat == 0).all(1, keepdim=True), 0)
