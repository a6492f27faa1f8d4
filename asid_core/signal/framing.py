"""Frames on a track's grid, wherever it was cut: frame `f` is centred on sample `f * hop_samples` of the track."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from asid_core.signal.front_end import FrontEnd


@torch.no_grad()
def frames(front_end: FrontEnd, waveform: Tensor) -> Tensor:
    """Waveform [B, n] at 16 kHz -> features [B, F, 1 + n // hop_samples]. Very short audio is zero-padded."""
    missing = front_end.config.n_fft // 2 + 1 - waveform.shape[-1]
    features: Tensor = front_end(F.pad(waveform, (0, max(missing, 0))))
    return features[..., : 1 + waveform.shape[-1] // front_end.config.hop_samples]


def on_grid(front_end: FrontEnd, waveform: Tensor, origin_samples: int) -> tuple[Tensor, int]:
    """Features [F, T] of audio [n] that starts at sample `origin_samples` of its track, and its first frame's number.

    Skips up to a hop of audio at the start, so that frames fall on the track's grid.
    """
    skip = -origin_samples % front_end.config.hop_samples
    first = (origin_samples + skip) // front_end.config.hop_samples
    return frames(front_end, waveform[skip:][None])[0], first


def core_span(start_samples: int, core_samples: int, is_last: bool, hop_samples: int) -> tuple[int, int]:
    """The range (first, last + 1) of the track's frames that are centred in a core.

    is_last: the core is the track's last one, so a frame at the very end of the track belongs to it.
    """
    stop = start_samples + core_samples + (1 if is_last else 0)
    return -(-start_samples // hop_samples), -(-stop // hop_samples)


def core_frames(
    front_end: FrontEnd, waveform: Tensor, start_samples: int, lead_samples: int, core_samples: int
) -> Tensor:
    """The frames [F, t] centred in a segment's core. Concatenated over segments, they are the frames of the track.

    waveform [n]: lead, core and tail. A segment without a tail is the track's last one.
    """
    features, first = on_grid(front_end, waveform, start_samples - lead_samples)
    is_last = lead_samples + core_samples >= len(waveform)
    start, stop = core_span(start_samples, core_samples, is_last, front_end.config.hop_samples)
    return features[:, start - first : stop - first]
