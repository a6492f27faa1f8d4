"""Where windows lie in a recording, and how loud they are."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from asid_core.config import FrontEndConfig

LEVEL_FLOOR_DB = -120.0


def window_starts(front: FrontEndConfig, num_frames: int) -> Tensor:
    """First frames, int64 [w], of the whole windows in a recording of `num_frames` frames."""
    return torch.arange(0, num_frames - front.window_frames + 1, front.window_hop_frames)


def windows_in_core(front: FrontEndConfig, start_samples: int, core_samples: int) -> Tensor:
    """Index in the track, int64 [w], of the windows that start in a core at sample `start_samples`."""
    step = front.window_hop_frames * front.hop_samples
    return torch.arange(-(-start_samples // step), -(-(start_samples + max(core_samples, 1)) // step))


def padded_to_window(front: FrontEndConfig, waveform: Tensor, start_samples: int) -> Tensor:
    """The audio [n] of a segment; that of a whole track shorter than a window zero-padded to one."""
    short = (front.window_frames - 1) * front.hop_samples - len(waveform)
    return F.pad(waveform, (0, short)) if short > 0 and start_samples == 0 else waveform


def level_db(front: FrontEndConfig, waveform: Tensor, first_frames: Tensor) -> Tensor:
    """RMS in dB re full scale, float32 [n], of the audio [samples] of each window, as far as the audio goes."""
    power = F.pad(waveform.double().square().cumsum(0), (1, 0))
    first = (first_frames.to(waveform.device) * front.hop_samples).clamp(max=len(waveform))
    last = (first + front.window_frames * front.hop_samples).clamp(max=len(waveform))
    mean = (power[last] - power[first]) / (last - first).clamp(min=1)
    return (10 * mean.clamp(min=1e-30).log10()).clamp(min=LEVEL_FLOOR_DB).float()
