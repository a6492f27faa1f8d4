"""Quantisation of unit vectors to eight bits: a quarter of the memory of float32, and fast integer products."""

from __future__ import annotations

import torch
from torch import Tensor

# clipping level, in multiples of the root mean square of a unit vector
LARGEST = 6.0
# rows converted at once; 2 MB stay in the cache
ROWS_AT_ONCE = 4096


def step(dim: int) -> float:
    """The quantisation step. It depends only on the dimension, so all vectors of a model share it."""
    return min(1.0, LARGEST / dim**0.5) / 127


def quantised(vectors: Tensor, unit: float) -> Tensor:
    """Float vectors [n, d] as int8 [n, d], in multiples of `unit`, clipped to +-127."""
    codes = torch.empty(vectors.shape, dtype=torch.int8, device=vectors.device)
    for start in range(0, len(vectors), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        codes[part] = (vectors[part] / unit).round_().clamp_(-127, 127)
    return codes


def restored(vectors: Tensor) -> Tensor:
    """Float32 vectors [..., dim] from int8 codes [..., dim] of whole vectors; floats are returned unchanged."""
    return vectors.float() * step(vectors.shape[-1]) if vectors.dtype == torch.int8 else vectors
