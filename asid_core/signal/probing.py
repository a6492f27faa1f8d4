"""Patches of whitened features, with or without undoing a pitch shift and a tempo change.

Frame `f` of the features covers the interval [f, f + 1) of frame time. A probe (semitones, tempo_ratio) assumes that
the query is the reference shifted up by `semitones`, and that `t_reference = t_0 + tempo_ratio * t_query`. Its patch
undoes both, so that it can be compared with patches of the reference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from asid_core.config import LogFrequencyConfig

# Patches of 78 bins x 25 columns with a smaller norm count as silent: fades and single notes, which match any other
# such window with a cosine near 1. 95 % of windows of music have a norm above 11.
MIN_NORM, MIN_NORM_VALUES = 7.5, 78 * 25

COLUMNS_PER_PART = 128  # of an excerpt; more would multiply more zeros


def stretched(features: Tensor, centre_frames: Tensor, tempo_ratio: float, frames: int, pool_frames: int) -> Tensor:
    """Excerpts of `frames` frames of reference time around each centre, averaged over `pool_frames` each.

    features [F, T]; centre_frames float [n] in query frames. Returns [n, F, frames // pool_frames]: exact averages over
    fractional intervals, computed from a running sum; zero outside the recording.
    """
    total = features.shape[1]
    columns = frames // pool_frames
    offsets = (torch.arange(columns + 1, device=features.device) * pool_frames - frames / 2) / tempo_ratio
    edges = centre_frames.to(features.device, torch.float64)[:, None] + offsets  # [n, columns + 1]
    edges = edges.clamp(0, total)
    first = int(edges.min())
    # float64, because float32 sums lose precision after some minutes
    running = F.pad(features[:, first : math.ceil(edges.max()) + 1].double().cumsum(1), (1, 1))
    below = edges.floor().long()
    part = (edges - below)[None]
    below -= first
    at = running[:, below] * (1 - part) + running[:, below + 1] * part  # [F, n, columns + 1]
    return (at.diff(dim=2) * (tempo_ratio / pool_frames)).float().transpose(0, 1)


def excerpt(features: Tensor, centre_frame: float, tempo_ratio: float, frames: int, pool_frames: int) -> Tensor:
    """`stretched` around one centre, [1, F, frames // pool_frames]; for a single one, this is three times as fast."""
    columns = frames // pool_frames
    steps = torch.arange(columns + 1, device=features.device, dtype=torch.float64)
    edges = (centre_frame + (steps * pool_frames - frames / 2) / tempo_ratio).clamp(0, features.shape[1])
    parts = []
    for start in range(0, columns, COLUMNS_PER_PART):
        some = edges[start : start + COLUMNS_PER_PART + 1]
        first, last = int(some[0]), math.ceil(some[-1])
        frame = torch.arange(last - first, device=features.device)[:, None]
        before = ((some - first).float() - frame).clamp(0, 1)  # the part of each frame before each edge
        parts.append(features[:, first:last].float() @ before.diff(dim=1))
    return torch.cat(parts, 1)[None] * (tempo_ratio / pool_frames)


def probed_patches(
    features: Tensor, centre_frames: Tensor, semitones: Sequence[float], tempo_ratio: float, config: LogFrequencyConfig
) -> Tensor:
    """Unit-norm patches [len(semitones), n, bins, frames] of the probes (s, tempo_ratio) for each s in `semitones`.

    features [F, T]; centre_frames float [n]. Silence gives the zero patch.
    """
    cut = stretched(features, centre_frames, tempo_ratio, config.window_frames, config.pool_frames)
    return normalised(torch.stack([pooled_bins(shifted(cut, pitch, config), config.pool_bins) for pitch in semitones]))


def whole_shifts(semitones: Sequence[float], config: LogFrequencyConfig) -> list[int] | None:
    """Pitch shifts in bins of a patch, or None if one of them is not a whole number of bins."""
    steps = [pitch * config.bins_per_octave / 12 / config.pool_bins for pitch in semitones]
    whole = [round(step) for step in steps]
    return whole if all(abs(a - b) < 1e-6 for a, b in zip(steps, whole, strict=True)) else None


def shifted(cut: Tensor, semitones: float, config: LogFrequencyConfig) -> Tensor:
    """Undo a shift up by `semitones`: bin b of the result is bin b + shift of `cut` [n, F, T], and zero beyond.

    Interpolates linearly if the shift is not a whole number of bins.
    """
    shift = semitones * config.bins_per_octave / 12
    whole = math.floor(shift + 1e-6)
    part = shift - whole
    if part < 1e-6:
        return moved(cut, whole)
    return torch.lerp(moved(cut, whole), moved(cut, whole + 1), part)


def moved(cut: Tensor, bins: int) -> Tensor:
    """Bin b of the result is bin b + bins of `cut` [n, F, T], and zero beyond."""
    bins = max(-cut.shape[1], min(bins, cut.shape[1]))
    return F.pad(cut, (0, 0, -bins, bins))


def pooled_bins(patches: Tensor, pool: int) -> Tensor:
    """Mean over `pool` neighbouring bins: [n, F, T] -> [n, F / pool, T]."""
    return patches.unflatten(1, (-1, pool)).mean(2)


def centred(patches: Tensor) -> Tensor:
    """Patches [n, F, T] minus their means over time and over frequency."""
    return patches - patches.mean(1, keepdim=True) - patches.mean(2, keepdim=True) + patches.mean((1, 2), keepdim=True)


def normalised(patches: Tensor) -> Tensor:
    """Scale each patch (the last two dimensions) to unit norm. Nearly silent ones (see MIN_NORM) become zero."""
    norm = torch.linalg.vector_norm(patches, dim=(-2, -1), keepdim=True)
    least = silent_norm(patches)
    return patches * torch.where(norm > least, 1 / norm.clamp(min=least), 0.0)


def silent_norm(patches: Tensor) -> float:
    """The norm up to which patches of this size count as silent."""
    return MIN_NORM * math.sqrt(patches.shape[-2] * patches.shape[-1] / MIN_NORM_VALUES)
