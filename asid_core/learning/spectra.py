"""The front ends taken apart, so that a sample can be pitched, stretched and laid over other music between their steps.

In a power spectrogram a pitch shift is a scaling of the frequency axis, a change of tempo one of the time axis, a
filter a gain a band, and laying over is adding powers. So nothing here needs a phase vocoder: the filterbank is read at
shifted frequencies, and everything after it works on a few bands. Whitening comes last.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from asid_core.config import SAMPLE_RATE_HZ, FrontEndConfig


class Spectra(nn.Module, ABC):
    """Waveforms -> spectrum -> band powers -> what the encoder takes."""

    config: FrontEndConfig
    filters: Tensor
    band_hz: Tensor
    context_frames = 0  # needed on either side of a window

    @property
    def frames(self) -> int:
        """Frames of a window with its context."""
        return self.config.window_frames + 2 * self.context_frames

    def cut_samples(self, greatest_ratio: float, offset_s: float) -> int:
        """Samples that hold a window with its context at any tempo up to `greatest_ratio`, moved by `offset_s`."""
        samples = self.frames * self.config.hop_samples * greatest_ratio + 2 * offset_s * SAMPLE_RATE_HZ
        return round(samples) + self.config.n_fft

    @abstractmethod
    def stft(self, waveforms: Tensor) -> Tensor:
        """Waveforms [B, n] -> spectrum [B, bins, T], as `bands` takes it; also of what `prepared` returned."""

    @abstractmethod
    def prepared(self, waveforms: Tensor) -> Tensor:
        """Waveforms [B, n] -> a float16 form [B, steps, bands, T] from which `stft` and `bands` make any pitch."""

    @abstractmethod
    def bands(self, spectrum: Tensor, semitones: Tensor | None = None) -> Tensor:
        """Spectrum, each pitched up by `semitones` [B] -> powers [B, bands, T]."""

    @abstractmethod
    def patches(self, bands: Tensor) -> Tensor:
        """Powers [B, bands, frames] -> what the encoder takes of them, [B, F, W]."""

    def stretched(self, bands: Tensor, centres: Tensor, ratios: Tensor, drift: Tensor | None = None) -> Tensor:
        """`frames` frames around frame `centres` [B] of [B, bands, T], read `ratios` [B] times as fast.

        `drift` [B]: by how much the tempo at both ends differs, as a share.
        """
        steps = torch.arange(self.frames, device=bands.device) - self.frames / 2
        fast = ratios[:, None] if drift is None else ratios[:, None] * (1 + drift[:, None] * steps.abs() / self.frames)
        at = (centres[:, None] + steps * fast).clamp(0, bands.shape[2] - 1.001)
        below = at.floor().long()[:, None].expand(-1, bands.shape[1], -1)
        part = (at - at.floor())[:, None]
        return bands.gather(2, below) * (1 - part) + bands.gather(2, below + 1) * part
