"""Constant-Q transform: every filter spans the same number of periods (Brown 1991, "Calculation of a constant Q")."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torchaudio.transforms import Resample

from asid_core.config import SAMPLE_RATE_HZ, CqtConfig
from asid_core.signal.front_end import FrontEnd

FLOOR = 1e-10  # of the power: -100 dB, as in the log-mel front end
FRAMES_PER_PRODUCT = 1024  # 47 MB of overlapping frames for the lowest octave


def octave_filters(config: CqtConfig) -> list[Tensor]:
    """Windowed complex exponentials: one matrix [length, 2 * bins] per octave, cosines first; lengths are odd.

    A filter spans Q periods, Q = 1 / (2^(1 / bins_per_octave) - 1); a sine of amplitude 1 at its pitch gives power 1.
    Raises ValueError if the highest filter reaches above half the sample rate.
    """
    quality = 1 / (2 ** (1 / config.bins_per_octave) - 1)
    pitches = [config.f_min_hz * 2 ** (k / config.bins_per_octave) for k in range(config.bins)]
    if pitches[-1] * (1 + 1 / quality) > SAMPLE_RATE_HZ / 2:
        raise ValueError(f"{config.bins} bins reach {pitches[-1]:.0f} Hz, beyond the audio; use fewer front_end.bins")
    octaves = []
    for first in range(0, config.bins, config.bins_per_octave):
        some = pitches[first : first + config.bins_per_octave]
        half = math.ceil(quality * config.rate_hz / some[0] / 2)
        at = torch.arange(-half, half + 1, dtype=torch.float64)[:, None] / config.rate_hz
        hz = torch.tensor(some, dtype=torch.float64)
        window = 0.5 + 0.5 * torch.cos(2 * torch.pi * at * hz / quality)
        window = torch.where(at.abs() <= quality / hz / 2, window, 0)
        window = 2 * window / window.sum(0)
        phase = 2 * torch.pi * at * hz
        octaves.append(torch.cat([window * phase.cos(), window * phase.sin()], 1).float())
    return octaves


class CqtFrontEnd(FrontEnd):
    """Waveform -> constant-Q power in decibels.

    Works at `config.rate_hz`, at which the hop must also be a whole number: 320 samples at 16 kHz are 441 at 22.05 kHz.
    """

    config: CqtConfig

    def __init__(self, config: CqtConfig) -> None:
        """Raises ValueError if the hop is not a whole number of samples at `config.rate_hz`."""
        super().__init__()
        self.config = config
        hop, rest = divmod(config.hop_samples * config.rate_hz, SAMPLE_RATE_HZ)
        if rest:
            raise ValueError(
                f"front_end.hop_samples {config.hop_samples} is not a whole number at {config.rate_hz} Hz; use 320"
            )
        self.hop = hop
        self.resample = Resample(SAMPLE_RATE_HZ, config.rate_hz)
        filters = octave_filters(config)
        self.octaves = len(filters)
        for number, octave in enumerate(filters):
            self.register_buffer(f"octave_{number}", octave, persistent=False)

    def power(self, waveform: Tensor) -> Tensor:
        """Waveform [B, n] float32 at 16 kHz -> power [B, bins, 1 + n // hop_samples]. Edges are zero-padded."""
        frames = 1 + waveform.shape[1] // self.config.hop_samples
        audio = self.resample(waveform)
        reach = self.get_buffer("octave_0").shape[0] // 2
        audio = F.pad(audio, (reach, reach + frames * self.hop - audio.shape[1]))
        octaves = []
        for number in range(self.octaves):
            filters = self.get_buffer(f"octave_{number}")
            length, columns = filters.shape
            start = reach - length // 2
            views = audio[:, start:].unfold(1, length, self.hop)[:, :frames]
            parts = [part @ filters for part in views.split(FRAMES_PER_PRODUCT, dim=1)]
            octaves.append(torch.cat(parts, 1).square().unflatten(2, (2, columns // 2)).sum(2))
        return torch.cat(octaves, 2).transpose(1, 2)

    def forward(self, waveform: Tensor) -> Tensor:
        """Waveform [B, n] float32 at 16 kHz -> dB [B, bins, 1 + n // hop_samples]; silence is -100 dB."""
        return 10 * self.power(waveform).clamp(min=FLOOR).log10()
