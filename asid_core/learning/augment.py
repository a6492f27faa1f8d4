"""Random changes of a sample on its way into another track, drawn per row of a batch and applied to band powers.

Everything runs on the device of the batch. AugmentationConfig gives the ranges. For the curriculum, `difficulty` (0..1)
shrinks them towards no change.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from asid_core.config import AugmentationConfig
from asid_core.learning import degradations

EASY_BACKGROUND_DB = -30.0  # level at the start of the curriculum, where the background is almost inaudible
EQUALISER_POINTS = 6
FLOOR = 1e-12
BEAT_S = (0.3, 0.7)


@dataclass(frozen=True)
class Transform:
    """The parameters of one random transform per row; each tensor is float [B]."""

    semitones: Tensor
    ratios: Tensor  # speed of the transformed sample, relative to the original
    gain_db: Tensor
    offset_s: Tensor
    background_db: Tensor
    drift: Tensor


def uniform(low: float, high: float, batch: int, device: torch.device) -> Tensor:
    """[batch] values, uniform in low..high."""
    return low + (high - low) * torch.rand(batch, device=device)


def draw(ranges: AugmentationConfig, batch: int, difficulty: float, device: torch.device) -> Transform:
    """Draw a transform for each of `batch` rows. Difficulty 1 uses the full ranges. Tempo is uniform on a log scale."""
    low, high = (torch.tensor(ratio).log().item() * difficulty for ratio in ranges.tempo_ratios)
    semitones = uniform(-ranges.semitones, ranges.semitones, batch, device) * difficulty
    log_ratios = uniform(low, high, batch, device)
    if not ranges.together:
        pitch_only = torch.rand(batch, device=device) < 0.5
        semitones, log_ratios = semitones * pitch_only, log_ratios * ~pitch_only
    background = uniform(ranges.background_db[0], ranges.background_db[1], batch, device)
    gain_db = uniform(-ranges.gain_db, ranges.gain_db, batch, device) * difficulty
    return Transform(
        semitones,
        log_ratios.exp(),
        gain_db,
        uniform(-ranges.offset_s, ranges.offset_s, batch, device),
        EASY_BACKGROUND_DB + (background - EASY_BACKGROUND_DB) * difficulty,
        uniform(-ranges.drift, ranges.drift, batch, device) * difficulty if ranges.drift else torch.zeros_like(gain_db),
    )


def amounts(most: float, batch: int, device: torch.device) -> Tensor:
    """[batch] amounts: uniform in 0..most for half of the rows, 0 for the others."""
    return uniform(-most, most, batch, device).clamp(min=0)


def degraded(bands: Tensor, ranges: AugmentationConfig, difficulty: float, band_hz: Tensor, frame_s: float) -> Tensor:
    """Apply the effects of `degradations` that `ranges` enables, except cuts, to powers [B, bands, T].

    band_hz [bands]: centre frequencies. frame_s: seconds per frame.
    """
    rows, device, out = len(bands), bands.device, bands
    if ranges.one_part > 0:
        alone = torch.rand(rows, device=device) < ranges.one_part * difficulty
        percussive = torch.rand(rows, device=device) < 0.5
        out = degradations.one_part(out, percussive, alone.to(bands.dtype), frame_s)
    if ranges.drive > 0:
        out = degradations.driven(out, amounts(ranges.drive * difficulty, rows, device), band_hz)
    if ranges.noise > 0:
        out = degradations.crushed(out, amounts(ranges.noise * difficulty, rows, device))
    if ranges.chorus > 0:
        out = degradations.chorused(out, amounts(ranges.chorus * difficulty, rows, device))
    if ranges.pumping_db > 0:
        depth_db = amounts(ranges.pumping_db * difficulty, rows, device)
        period_s, phase = uniform(*BEAT_S, rows, device), torch.rand(rows, device=device)
        out = degradations.pumped(out, depth_db, period_s, phase, frame_s)
    return out


def coloured(bands: Tensor, ranges: AugmentationConfig, difficulty: float, band_hz: Tensor, frame_s: float) -> Tensor:
    """Apply a random equaliser, high- and low-pass filter, reverb and compression to each row of [B, bands, T]."""
    out = bands * equaliser(ranges, bands.shape[0], difficulty, band_hz)[:, :, None]
    if ranges.reverb_s > 0:
        out = reverberated(out, uniform(0, ranges.reverb_s * difficulty, len(out), out.device), frame_s)
    if ranges.compression > 0:
        out = compressed(out, uniform(0, ranges.compression * difficulty, len(out), out.device))
    return out


def equaliser(ranges: AugmentationConfig, batch: int, difficulty: float, band_hz: Tensor) -> Tensor:
    """Power gains [B, bands]: a random curve over log frequency, with slopes of 24 dB per octave at both ends."""
    device = band_hz.device
    curve = torch.randn(batch, 1, EQUALISER_POINTS, device=device) * (ranges.equaliser_db * difficulty / 2)
    gain_db = F.interpolate(curve, size=len(band_hz), mode="linear", align_corners=True)[:, 0]
    octaves = band_hz.clamp(min=10).log2()
    for edge_hz, limit_hz, sign in ((20.0, ranges.low_cut_hz, 1), (8000.0, ranges.high_cut_hz, -1)):
        edge, limit = torch.tensor([edge_hz, limit_hz]).log2().tolist()
        cut = uniform(edge, edge + (limit - edge) * difficulty, batch, device)
        gain_db = gain_db - 24 * (sign * (cut[:, None] - octaves)).clamp(min=0)
    return 10 ** (gain_db / 10)


def reverberated(bands: Tensor, decay_s: Tensor, frame_s: float) -> Tensor:
    """Add an exponential reverb tail with reverberation time (RT60) `decay_s` [B] to powers [B, bands, T]."""
    length = max(24, math.ceil(float(decay_s.max()) / 2 / frame_s))  # until the tail has fallen by 30 dB
    steps = torch.arange(1, length + 1, device=bands.device)
    tail = 10 ** (-6 * steps * frame_s / decay_s.clamp(min=1e-3)[:, None])
    kernel = torch.cat([torch.ones_like(tail[:, :1]), tail / 4], dim=1).flip(1)
    rows, count, frames = bands.shape
    padded = F.pad(bands, (length, 0)).transpose(0, 1)  # [bands, B, T]: one kernel per row of the batch
    return F.conv1d(padded, kernel[:, None], groups=rows).transpose(0, 1).view(rows, count, frames)


def compressed(bands: Tensor, share: Tensor) -> Tensor:
    """Reduce each frame's deviation from the mean level, in dB, by `share` [B]; deviations count up to 20 dB."""
    level_db = 10 * bands.sum(1).clamp(min=FLOOR).log10()
    away = (level_db - level_db.mean(1, keepdim=True)).clamp(-20, 20) * share[:, None]
    return bands * 10 ** (-away / 10)[:, None]


def lossy(bands: Tensor, depth_db: Tensor) -> Tensor:
    """Remove what a lossy codec would: powers at least `depth_db` [B] below the loudest band of their frame."""
    floor = bands.amax(1, keepdim=True) * 10 ** (-depth_db / 10)[:, None, None]
    return torch.where(bands < floor, 0.0, bands)


def overlaid(sample: Tensor, background: Tensor, background_db: Tensor) -> Tensor:
    """Mix powers of samples with backgrounds [B, bands, T], which are scaled to `background_db` [B] above the sample.

    A silent background stays silent.
    """
    own, others = sample.mean((1, 2)), background.mean((1, 2))
    gain = torch.where(others > FLOOR, own / others.clamp(min=FLOOR), 0.0) * 10 ** (background_db / 10)
    return sample + background * gain[:, None, None]
