"""A fixed projection of the whitened patch: principal components, nothing trained by gradient."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from asid_core.model.base import Encoder
from asid_core.signal.probing import centred


class LinearEncoder(Encoder):
    """Patches -> L2-normalised principal components. Fit elsewhere by filling `mean` and `components`."""

    mean: Tensor
    components: Tensor
    cpu_windows_per_batch = 512

    def __init__(self, dim: int, in_bins: int, in_frames: int) -> None:
        """Raises ValueError where a patch has fewer than `dim` values."""
        super().__init__()
        size = in_bins * in_frames
        if dim > size:
            raise ValueError(f"encoder.dim {dim} is more than the {size} values of a patch: make it smaller")
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("components", torch.eye(dim, size))

    def projection(self) -> Tensor:
        """The matrix [dim, bins * frames] that projects a patch."""
        return self.components

    def forward(self, patches: Tensor) -> tuple[Tensor, None]:
        """Patches [n, bins, frames], L2-normalised or zero -> ([n, dim] L2-normalised, no nodes); zero stays zero."""
        flat = patches.flatten(1)
        vectors = F.normalize((flat - self.mean) @ self.components.T, dim=1)
        return vectors.masked_fill((flat == 0).all(1, keepdim=True), 0), None


def centred_roots(patches: Tensor) -> Tensor:
    """Patches [n, bins, frames], none below 0 -> their square roots less row and column means, to unit norm, [n, D].

    No single onset decides, and held notes and steady beats, which two pieces may share, count for nothing. Untrained,
    of 1024 windows under backgrounds of -10 to +10 dB: mAP 0.65 against 0.60 of the patches as they are. Silence
    stays zero.
    """
    return unit_centred(patches.clamp(min=0).sqrt())


def unit_centred(roots: Tensor) -> Tensor:
    """[n, bins, frames] less row and column means, to unit norm, [n, D]."""
    return F.normalize(centred(roots).flatten(1), dim=1)


class DiscriminantEncoder(LinearEncoder):
    """`centred_roots` of a patch, projected by learning.projection.fit_discriminant."""

    def forward(self, patches: Tensor) -> tuple[Tensor, None]:
        """Patches [n, bins, frames], L2-normalised or zero -> ([n, dim] L2-normalised, no nodes); zero stays zero."""
        return F.normalize(centred_roots(patches) @ self.components.T, dim=1), None
