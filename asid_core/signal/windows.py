"""Positions and levels of the windows of a recording."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from asid_core.config import SAMPLE_RATE_HZ, FrontEndConfig
from asid_core.signal.decibels import span_db


def window_starts(front: FrontEndConfig, num_frames: int) -> Tensor:
    """First frames, int64 [w], of all complete windows in a recording of `num_frames` frames."""
    return torch.arange(0, num_frames - front.window_frames + 1, front.window_hop_frames)


def query_centres(front: FrontEndConfig, num_frames: int, hop_s: float) -> Tensor:
    """Centres, float64 [n] in frames, of the windows that a query of `num_frames` frames is searched with.

    One every `hop_s` seconds (`probes.query_hop_s`), or where that is 0 those of `window_starts`; always at least one.
    """
    hop = hop_s * SAMPLE_RATE_HZ / front.hop_samples or front.window_hop_frames
    room = max(num_frames - front.window_frames, 0)
    return front.window_frames / 2 + torch.arange(int(room / hop) + 1, dtype=torch.float64) * hop


def windows_in_core(front: FrontEndConfig, start_samples: int, core_samples: int) -> Tensor:
    """Window numbers in the track, int64 [w], of the windows that start in the core at sample `start_samples`."""
    step = front.window_hop_frames * front.hop_samples
    return torch.arange(-(-start_samples // step), -(-(start_samples + max(core_samples, 1)) // step))


def cut_or_zero(values: Tensor, start: int, count: int) -> Tensor:
    """`count` values along the last dimension from `start` on, zero where there are none. start: may be negative."""
    part = values[..., max(start, 0) : max(start + count, 0)]
    left = min(max(-start, 0), count)
    return F.pad(part, (left, count - left - part.shape[-1]))


def padded_to_window(front: FrontEndConfig, waveform: Tensor, start_samples: int) -> Tensor:
    """The audio [n] of a segment. A track that is shorter than a window is zero-padded to one."""
    short = (front.window_frames - 1) * front.hop_samples - len(waveform)
    return F.pad(waveform, (0, short)) if short > 0 and start_samples == 0 else waveform


def level_db(front: FrontEndConfig, waveform: Tensor, first_frames: Tensor) -> Tensor:
    """RMS level of each window in dBFS, float32 [n], for a waveform [samples] and the windows' first frames [n].

    A window that reaches beyond the audio is measured up to its end.
    """
    power = F.pad(waveform.double().square().cumsum(0), (1, 0))
    first = (first_frames.to(waveform.device) * front.hop_samples).clamp(max=len(waveform))
    last = (first + front.window_frames * front.hop_samples).clamp(max=len(waveform))
    return span_db(power, first, last).float()
