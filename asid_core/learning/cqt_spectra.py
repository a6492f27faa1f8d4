"""`Spectra` of the constant-Q front end, in which a pitch shift is a shift of bins."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from asid_core.config import CqtConfig
from asid_core.learning.spectra import Spectra
from asid_core.signal.cqt import FLOOR, CqtFrontEnd


class CqtSpectra(Spectra):
    """Waveforms -> powers of the bins, with spare bins above and below -> input of the encoder."""

    config: CqtConfig

    def __init__(self, front_end: CqtFrontEnd, semitones: float) -> None:
        """semitones: the largest pitch shift, up or down."""
        super().__init__()
        config = front_end.config
        self.config = config
        self.spare = math.ceil(semitones * config.bins_per_octave / 12) + 1
        lowest = config.f_min_hz * 2 ** (-self.spare / config.bins_per_octave)
        self.front_end = CqtFrontEnd(replace(config, bins=config.bins + 2 * self.spare, f_min_hz=lowest))
        steps = torch.arange(config.bins) / config.bins_per_octave
        self.register_buffer("band_hz", config.f_min_hz * 2**steps)
        self.register_buffer("filters", torch.eye(config.bins))  # a band is a bin

    def stft(self, waveforms: Tensor) -> Tensor:
        """Waveforms [B, n], or the output of `prepared`, -> powers [B, bins + 2 * spare, T]."""
        if waveforms.dim() == 4:
            return waveforms[:, 0].float().square()
        return self.front_end.power(waveforms)

    def prepared(self, waveforms: Tensor) -> Tensor:
        """Waveforms [B, n] -> roots of powers, float16 [B, 1, bins + 2 * spare, T], in which any pitch can be read."""
        return self.stft(waveforms).sqrt().half()[:, None]

    def bands(self, spectrum: Tensor, semitones: Tensor | None = None) -> Tensor:
        """Shift powers [B, bins + 2 * spare, T] up by `semitones` [B] -> [B, bins, T]; interpolates between bins."""
        bins = self.config.bins
        if semitones is None:
            return spectrum[:, self.spare : self.spare + bins]
        shift = semitones * self.config.bins_per_octave / 12
        at = (self.spare + torch.arange(bins, device=spectrum.device) - shift[:, None]).clamp(min=0)
        below = at.floor().long()
        part = (at - below)[:, :, None]
        padded = F.pad(spectrum, (0, 0, 0, 1))
        rows = torch.arange(len(spectrum), device=spectrum.device)[:, None]
        return padded[rows, below] * (1 - part) + padded[rows, below + 1] * part

    def patches(self, bands: Tensor) -> Tensor:
        """Powers [B, bins, frames] -> decibels."""
        return 10 * bands.clamp(min=FLOOR).log10()
