"""The steps of the front ends, one by one, so that samples can be pitched, stretched and mixed between them.

In a power spectrogram, a pitch shift scales the frequency axis, a tempo change scales the time axis, a filter is a gain
per band, and mixing adds powers. So no phase vocoder is needed: the filterbank is moved along frequency, and all other
effects work on its bands. Whitening comes last.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from asid_core.config import SAMPLE_RATE_HZ, FrontEndConfig


class Spectra(nn.Module, ABC):
    """Waveforms -> spectrum -> band powers -> input of the encoder."""

    config: FrontEndConfig
    filters: Tensor
    band_hz: Tensor
    context_frames = 0  # needed on either side of a window

    @property
    def frames(self) -> int:
        """Frames of a window with its context."""
        return self.config.window_frames + 2 * self.context_frames

    def cut_samples(self, greatest_ratio: float, offset_s: float) -> int:
        """Samples needed for a window with context, at any tempo up to `greatest_ratio` and offset by `offset_s`."""
        samples = self.frames * self.config.hop_samples * greatest_ratio + 2 * offset_s * SAMPLE_RATE_HZ
        return round(samples) + self.config.n_fft

    @abstractmethod
    def stft(self, waveforms: Tensor) -> Tensor:
        """Waveforms [B, n], or the output of `prepared`, -> spectrum [B, bins, T], the input of `bands`."""

    @abstractmethod
    def prepared(self, waveforms: Tensor) -> Tensor:
        """Waveforms [B, n] -> a compact form, float16 [B, steps, bands, T], from which `bands` can read any pitch."""

    @abstractmethod
    def bands(self, spectrum: Tensor, semitones: Tensor | None = None) -> Tensor:
        """Spectrum [B, bins, T], pitched up by `semitones` [B] -> powers [B, bands, T]."""

    @abstractmethod
    def patches(self, bands: Tensor) -> Tensor:
        """Powers [B, bands, frames] -> patches [B, F, W], the input of the encoder."""

    def stretched(self, bands: Tensor, centres: Tensor, ratios: Tensor, drift: Tensor | None = None) -> Tensor:
        """Read `frames` frames around the frames `centres` [B] of powers [B, bands, T], `ratios` [B] times as fast.

        drift [B]: relative change of tempo between the centre and the ends.
        """
        steps = torch.arange(self.frames, device=bands.device) - self.frames / 2
        fast = ratios[:, None] if drift is None else ratios[:, None] * (1 + drift[:, None] * steps.abs() / self.frames)
        at = (centres[:, None] + steps * fast).clamp(0, bands.shape[2] - 1.001)
        below = at.floor().long()[:, None].expand(-1, bands.shape[1], -1)
        part = (at - at.floor())[:, None]
        return bands.gather(2, below) * (1 - part) + bands.gather(2, below + 1) * part
