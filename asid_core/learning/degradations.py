"""Effects that producers apply to samples, on band powers [B, bands, T]. Amounts are per row; 0 means no change.

They share no code with the effects of the benchmarks, which work on waveforms, so that benchmarks stay independent.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

FLOOR = 1e-12
SMOOTHED_S = 0.5  # partials last this long, onsets do not
SMOOTHED_BANDS = 9
MIN_KEPT_SHARE = 0.4  # share of a window that a cut keeps at least


def one_part(bands: Tensor, percussive: Tensor, amount: Tensor, frame_s: float) -> Tensor:
    """Keep the percussive (bool [B]) or the harmonic part, by removing a share `amount` [B] of the other.

    A Wiener mask of powers averaged over time and powers averaged over bands, a cheap variant of the median filters of
    Fitzgerald 2010.
    """
    frames = 2 * round(SMOOTHED_S / frame_s / 2) + 1
    roots = bands.sqrt()
    harmonic = F.avg_pool1d(roots, frames, 1, frames // 2, count_include_pad=False).square()
    over_bands = F.avg_pool1d(roots.transpose(1, 2), SMOOTHED_BANDS, 1, SMOOTHED_BANDS // 2, count_include_pad=False)
    onset = over_bands.transpose(1, 2).square()
    harmonic_share = harmonic.square() / (harmonic.square() + onset.square()).clamp(min=FLOOR**2)
    kept = torch.where(percussive[:, None, None], 1 - harmonic_share, harmonic_share)
    return bands * (1 - amount[:, None, None] * (1 - kept))


def driven(bands: Tensor, amount: Tensor, band_hz: Tensor) -> Tensor:
    """Distortion: add a share `amount` [B] of each band's power at twice and three times its frequency (`band_hz`)."""
    out = bands
    for harmonic in (2, 3):
        source = torch.searchsorted(band_hz.contiguous(), band_hz / harmonic).clamp(max=len(band_hz) - 1)
        heard = (band_hz / harmonic >= band_hz[0]).to(bands.dtype)[:, None]
        out = out + bands[:, source] * heard * amount[:, None, None] / harmonic
    return out


def crushed(bands: Tensor, amount: Tensor) -> Tensor:
    """Bit reduction: add noise wherever there is sound, `amount` [B] times the mean power of the loudest tenth."""
    frames = bands.mean(1)
    loud = frames.topk(max(1, frames.shape[1] // 10), dim=1).values.mean(1)
    sounding = (frames > 1e-4 * loud[:, None]).to(bands.dtype)
    drawn = -(torch.rand_like(bands).clamp(min=1e-6)).log()  # power of Gaussian noise in a band
    return bands + drawn * (amount * loud)[:, None, None] * sounding[:, None]


def chorused(bands: Tensor, amount: Tensor) -> Tensor:
    """Chorus: smear a share `amount` [B] of the power over neighbouring frames and bands."""
    over_frames = F.avg_pool1d(bands, 3, 1, 1, count_include_pad=False)
    over_bands = F.avg_pool1d(over_frames.transpose(1, 2), 3, 1, 1, count_include_pad=False).transpose(1, 2)
    return bands + (over_bands - bands) * amount[:, None, None]


def pumped(bands: Tensor, depth_db: Tensor, period_s: Tensor, phase: Tensor, frame_s: float) -> Tensor:
    """Pumping compressor: lower the level by `depth_db` [B] at every beat, and recover by the next.

    period_s [B]: seconds per beat. phase [B]: position of the first frame in its beat, 0..1.
    """
    beats = torch.arange(bands.shape[2], device=bands.device) * frame_s / period_s[:, None] + phase[:, None]
    gain_db = -depth_db[:, None] * (1 - beats.frac())
    return bands * 10 ** (gain_db / 10)[:, None]


def cut_inside(bands: Tensor, cut: Tensor, context_frames: int) -> Tensor:
    """Silence the beginning or the end of rows to be `cut` (bool [B]), keeping at least MIN_KEPT_SHARE of the window.

    context_frames: frames before and after the window.
    """
    frames, device = bands.shape[2], bands.device
    window = frames - 2 * context_frames
    lost = torch.rand(len(bands), device=device) * (1 - MIN_KEPT_SHARE) * window + context_frames
    at = torch.arange(frames, device=device)
    from_start = torch.rand(len(bands), device=device)[:, None] < 0.5
    silent = torch.where(from_start, at < lost[:, None], at >= frames - lost[:, None])
    return bands.masked_fill((silent & cut[:, None])[:, None], 0)
