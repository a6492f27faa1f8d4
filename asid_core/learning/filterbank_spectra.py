"""`Spectra` of the front ends with a filterbank on an STFT. A pitch shift moves the filters along frequency."""

from __future__ import annotations

from abc import abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor

from asid_core.config import SAMPLE_RATE_HZ, LogFrequencyConfig, LogMelConfig
from asid_core.learning.spectra import Spectra
from asid_core.signal.log_frequency import FLOOR, LogFrequencyFrontEnd
from asid_core.signal.log_mel import LogMelFrontEnd
from asid_core.signal.probing import normalised, pooled_bins


def pitched_filters(filters: Tensor, semitones: Tensor) -> Tensor:
    """Filters [bands, bins], moved so that their output is that of sounds `semitones` [n] higher: [n, bands, bins]."""
    at = torch.arange(filters.shape[1], device=filters.device) * 2 ** (semitones[:, None] / 12)
    below = at.floor().clamp(max=filters.shape[1]).long()  # sound shifted beyond the last bin is lost
    padded = F.pad(filters, (0, 2))
    near, far = padded[:, below], padded[:, below + 1]
    return (near + (far - near) * (at - below).clamp(max=1)).transpose(0, 1).contiguous()


def averaging(size: int, width: int) -> Tensor:
    """A matrix [size, size] for a running mean over `width` values; at the edges, over fewer values."""
    at = torch.arange(size)
    near = ((at[:, None] - at).abs() <= width // 2).float()
    return near / near.sum(1, keepdim=True)


class FilterbankSpectra(Spectra):
    """Waveforms -> magnitudes or powers, as the filterbank sums them -> band powers."""

    pitched: Tensor  # table of shifted filters, because computing them for each row would be slow
    window: Tensor
    steps_per_semitone: int

    def __init__(
        self, config: LogMelConfig | LogFrequencyConfig, filters: Tensor, scale: float | Tensor, semitones: float
    ):
        """filters: [bands, fft bins], multiplied by `scale`. semitones: the largest pitch shift, up or down."""
        super().__init__()
        self.config = config
        self.steps = round(semitones * self.steps_per_semitone)
        shifts = torch.arange(-self.steps, self.steps + 1, device=filters.device) / self.steps_per_semitone
        self.register_buffer("filters", filters.contiguous() * scale)
        self.register_buffer("pitched", pitched_filters(self.filters, shifts))
        self.register_buffer("window", torch.hann_window(config.n_fft))
        hz = torch.arange(filters.shape[1], device=filters.device) * SAMPLE_RATE_HZ / config.n_fft
        self.register_buffer("band_hz", (filters @ hz) / filters.sum(1).clamp(min=1e-9))

    @abstractmethod
    def summed(self, magnitudes: Tensor) -> Tensor:
        """Convert magnitudes to the quantity that the filterbank sums (magnitudes or powers)."""

    @abstractmethod
    def powers(self, sums: Tensor) -> Tensor:
        """Convert sums of the filterbank to powers."""

    @abstractmethod
    def roots(self, sums: Tensor) -> Tensor:
        """Convert sums of the filterbank to roots of powers."""

    def stft(self, waveforms: Tensor) -> Tensor:
        """Waveforms [B, n] -> input of the filterbank [B, fft bins, T]. Returns the output of `prepared` unchanged."""
        if waveforms.dim() == 4:
            return waveforms
        spectrum = torch.stft(
            waveforms, self.config.n_fft, self.config.hop_samples, window=self.window, return_complex=True
        )
        return self.summed(spectrum[:, : self.filters.shape[1]].abs())

    def bands(self, spectrum: Tensor, semitones: Tensor | None = None) -> Tensor:
        """Spectrum [B, fft bins, T], pitched up by `semitones` [B] -> powers [B, bands, T].

        A bin at frequency f then counts as one at f * 2^(semitones / 12), rounded to the nearest step of the table.
        """
        steps = torch.zeros(len(spectrum)) if semitones is None else semitones * self.steps_per_semitone
        which = steps.round().long().clamp(-self.steps, self.steps).to(spectrum.device) + self.steps
        if spectrum.dim() == 4:
            return spectrum[torch.arange(len(spectrum), device=spectrum.device), which].float().square()
        return self.powers(self.filters @ spectrum if semitones is None else self.pitched[which] @ spectrum)

    def prepared(self, waveforms: Tensor) -> Tensor:
        """Waveforms [B, n] -> roots of powers at every pitch, float16 [B, steps, bands, T]. `bands` selects one."""
        return self.roots(self.pitched @ self.stft(waveforms)[:, None]).half()


class LogMelSpectra(FilterbankSpectra):
    """Spectra of the log-mel front end, whose filterbank sums powers."""

    steps_per_semitone = 2  # enough: its bands are at least a semitone wide

    def __init__(self, front_end: LogMelFrontEnd, semitones: float) -> None:
        """semitones: the largest pitch shift, up or down."""
        super().__init__(front_end.config, front_end.mel.mel_scale.fb.T, 1.0, semitones)

    def summed(self, magnitudes: Tensor) -> Tensor:
        return magnitudes.square()

    def powers(self, sums: Tensor) -> Tensor:
        return sums

    def roots(self, sums: Tensor) -> Tensor:
        return sums.sqrt()

    def patches(self, bands: Tensor) -> Tensor:
        """Powers [B, bands, frames] -> decibels."""
        return 10 * bands.clamp(min=1e-10).log10()


class LogFrequencySpectra(FilterbankSpectra):
    """Spectra of the log-frequency front end, whose filterbank sums magnitudes.

    Whitening needs context frames on both sides of a window.
    """

    config: LogFrequencyConfig
    steps_per_semitone = 4  # a step is half a bin
    mean_over_bins: Tensor
    mean_over_frames: Tensor

    def __init__(self, front_end: LogFrequencyFrontEnd, semitones: float) -> None:
        """semitones: the largest pitch shift, up or down."""
        config = front_end.config
        super().__init__(config, front_end.filters, 2 / front_end.window.sum(), semitones)
        self.context_frames = config.mean_frames // 2
        self.register_buffer("mean_over_bins", averaging(len(self.filters), config.mean_bins))
        self.register_buffer("mean_over_frames", averaging(self.frames, config.mean_frames).T.contiguous())

    def summed(self, magnitudes: Tensor) -> Tensor:
        return magnitudes

    def powers(self, sums: Tensor) -> Tensor:
        return sums.square()

    def roots(self, sums: Tensor) -> Tensor:
        return sums

    def patches(self, bands: Tensor) -> Tensor:
        """Powers [B, bands, frames] -> whitened, pooled patches [B, F, W] of unit norm."""
        white = self.whitened(bands)
        return normalised(pooled_bins(F.avg_pool1d(white, self.config.pool_frames), self.config.pool_bins))

    def whitened(self, bands: Tensor) -> Tensor:
        """Powers [B, bands, frames] -> whitened frames [B, bands, window_frames]."""
        level = torch.log((bands.sqrt() / FLOOR).clamp(min=1))
        # LogFrequencyFrontEnd.whitened as two matrix products, which are faster than pooling
        white = (level - self.mean_over_bins @ level @ self.mean_over_frames).clamp(min=0)
        return white[..., self.context_frames : -self.context_frames]
