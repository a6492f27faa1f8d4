"""RMS levels in decibels re full scale (dBFS), with one floor for silence."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

FLOOR_DB = -120.0  # of digital silence: below what 16 bits can hold (-90)


def power_db(mean_square: Tensor) -> Tensor:
    """RMS in dBFS of mean squares of any shape, in their type; FLOOR_DB at least."""
    return (10 * mean_square.clamp(min=1e-30).log10()).clamp(min=FLOOR_DB)


def span_db(power: Tensor, start: Tensor, stop: Tensor) -> Tensor:
    """RMS in dBFS [n] of the spans from `start` to `stop` (int64 [n]).

    power: running sum float64 [samples + 1] of squares, 0 first. An empty span is silent.
    """
    return power_db((power[stop] - power[start]) / (stop - start).clamp(min=1))


def level_db(samples: np.ndarray) -> float:
    """RMS in dBFS of float samples of any shape, full scale being 1; no samples are silent."""
    mean = np.mean(np.square(samples, dtype=np.float64)) if samples.size else 0.0
    return float(power_db(torch.tensor(mean, dtype=torch.float64)))
