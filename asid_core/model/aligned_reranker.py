"""The aligned reranker: does a query sample a reference, where one lies over the other?

A candidate gives pitch, tempo and lag. Once these are undone, what both recordings share stands in the same cells of
both patches. A correlation weighs all cells alike. This network weighs each cell by its neighbourhood: it can leave out
the bands and moments that a background or a filter has taken.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asid_core.config import ALIGNED_PATCH as PATCH
from asid_core.signal.probing import centred, normalised, pooled_bins

JUDGED_TOGETHER = 64  # pairs; more are no faster


def aligned_patches(whitened: Tensor) -> Tensor:
    """Whitened frames [B, PATCH.bins, PATCH.window_frames], clipped by the matched filter -> patches of unit norm.

    Returns [B, bins, frames].
    """
    return normalised(pooled_bins(F.avg_pool1d(whitened, PATCH.pool_frames), PATCH.pool_bins))


class AlignedReranker(nn.Module):
    """A convolutional network on an aligned pair of patches; some 190,000 parameters at 24 channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        bins, _ = PATCH.patch_size
        wide, wider = 2 * channels, 4 * channels
        self.stem = _layer(4, channels, kernel=5, stride=2)
        self.frequency = nn.Parameter(torch.zeros(1, channels, -(-bins // 2), 1))  # what lies low counts otherwise
        self.body = nn.Sequential(
            _layer(channels, wide, stride=2),
            _layer(wide, wide),
            _layer(wide, wider, stride=2),
            _layer(wider, wider),
        )
        self.attention = nn.Conv2d(wider, 1, 1)
        self.classifier = nn.Sequential(nn.Linear(3 * wider, wider), nn.GELU(), nn.Dropout(0.2), nn.Linear(wider, 1))

    def forward(self, queries: Tensor, references: Tensor) -> Tensor:
        """Patches [B, bins, frames], laid over each other -> log-odds [B] that they share a sample."""
        cells = self.body(self.stem(_compared(queries, references)) + self.frequency).flatten(2)
        weights = self.attention(cells[..., None]).flatten(1).softmax(1)[:, None]
        pooled = torch.cat([cells.mean(2), cells.amax(2), (cells * weights).sum(2)], 1)
        logits: Tensor = self.classifier(pooled)
        return logits.squeeze(1)

    @torch.no_grad()
    def judged(self, queries: Tensor, references: Tensor) -> Tensor:
        """`forward` of any number of pairs, in batches; float16 patches take half the memory until then."""
        batches = zip(queries.split(JUDGED_TOGETHER), references.split(JUDGED_TOGETHER), strict=True)
        return torch.cat([self(*(side.float() for side in batch)) for batch in batches])


def _layer(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.GELU())


def _compared(queries: Tensor, references: Tensor) -> Tensor:
    """The four maps [B, 4, bins, frames] that the network reads: both, their centred product and their minimum."""
    queries, references = _of_unit_power(queries), _of_unit_power(references)
    product = centred(queries) * centred(references) / 2
    return torch.stack([queries.sqrt(), references.sqrt(), product, torch.minimum(queries, references).sqrt()], 1)


def _of_unit_power(patches: Tensor) -> Tensor:
    return patches / (patches.square().mean((1, 2), keepdim=True).sqrt() + 1e-6)
