"""Frames on a track's own grid, wherever its audio was cut: frame `f` is centred on sample `f * hop_samples` of it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from asid_core.signal.front_end import FrontEnd


@torch.no_grad()
def frames(front_end: FrontEnd, waveform: Tensor) -> Tensor:
    """Waveform [B, n] at 16 kHz -> [B, F, 1 + n // hop_samples]. Shorter than half an FFT is zero-padded."""
    missing = front_end.config.n_fft // 2 + 1 - waveform.shape[-1]
    found: Tensor = front_end(F.pad(waveform, (0, max(missing, 0))))
    return found[..., : 1 + waveform.shape[-1] // front_end.config.hop_samples]


def on_grid(front_end: FrontEnd, waveform: Tensor, origin_samples: int) -> tuple[Tensor, int]:
    """Audio [n] that starts at sample `origin_samples` of its track -> ([F, T], the track's frame the first one is).

    Up to a hop of audio at the start is not used: a lead of 6 s is no multiple of 512 samples.
    """
    skip = -origin_samples % front_end.config.hop_samples
    first = (origin_samples + skip) // front_end.config.hop_samples
    return frames(front_end, waveform[skip:][None])[0], first


def core_span(start_samples: int, core_samples: int, is_last: bool, hop_samples: int) -> tuple[int, int]:
    """First and last + 1 of the track's frames that are centred in a core; a track's end is its last core's."""
    stop = start_samples + core_samples + (1 if is_last else 0)
    return -(-start_samples // hop_samples), -(-stop // hop_samples)


def core_frames(
    front_end: FrontEnd, waveform: Tensor, start_samples: int, lead_samples: int, core_samples: int
) -> Tensor:
    """The frames [F, t] centred in a segment's core; those of a track's segments side by side are the track's.

    waveform [n]: lead, core and tail. A segment without a tail is the track's last one.
    """
    found, first = on_grid(front_end, waveform, start_samples - lead_samples)
    is_last = lead_samples + core_samples >= len(waveform)
    start, stop = core_span(start_samples, core_samples, is_last, front_end.config.hop_samples)
    return found[:, start - first : stop - first]
