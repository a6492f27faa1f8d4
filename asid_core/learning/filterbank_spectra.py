"""`Spectra` of the front ends with a filterbank on a Fourier transform: a pitch shift reads the filters elsewhere."""

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
    """Filters [bands, bins] as they must be for a sound to come out `semitones` [n] higher: [n, bands, bins]."""
    at = torch.arange(filters.shape[1]) * 2 ** (semitones[:, None] / 12)
    below = at.floor().clamp(max=filters.shape[1]).long()  # what is pitched beyond the last bin is lost
    padded = F.pad(filters, (0, 2))
    near, far = padded[:, below], padded[:, below + 1]
    return (near + (far - near) * (at - below).clamp(max=1)).transpose(0, 1).contiguous()


def averaging(size: int, width: int) -> Tensor:
    """[size, size]: each row the mean of `width` values around its own, at the edges of what is there."""
    at = torch.arange(size)
    near = ((at[:, None] - at).abs() <= width // 2).float()
    return near / near.sum(1, keepdim=True)


class FilterbankSpectra(Spectra):
    """Waveforms -> magnitudes to the power that the filterbank sums -> band powers."""

    pitched: Tensor  # a table of shifted filters: made for each row, they took a third of the time of a pair
    window: Tensor
    steps_per_semitone: int

    def __init__(self, config: LogMelConfig | LogFrequencyConfig, filters: Tensor, scale: float, semitones: float):
        """filters [bands, fft bins], times `scale`; `semitones`: the furthest that anything will be pitched."""
        super().__init__()
        self.config = config
        self.steps = round(semitones * self.steps_per_semitone)
        shifts = torch.arange(-self.steps, self.steps + 1) / self.steps_per_semitone
        self.register_buffer("filters", filters.contiguous() * scale)
        self.register_buffer("pitched", pitched_filters(self.filters, shifts))
        self.register_buffer("window", torch.hann_window(config.n_fft))
        hz = torch.arange(filters.shape[1]) * SAMPLE_RATE_HZ / config.n_fft
        self.register_buffer("band_hz", (filters @ hz) / filters.sum(1).clamp(min=1e-9))

    @abstractmethod
    def summed(self, magnitudes: Tensor) -> Tensor:
        """Magnitudes as the filterbank sums them: themselves, or powers."""

    @abstractmethod
    def powers(self, sums: Tensor) -> Tensor:
        """Sums of the filterbank as powers."""

    @abstractmethod
    def roots(self, sums: Tensor) -> Tensor:
        """Sums of the filterbank as roots of powers."""

    def stft(self, waveforms: Tensor) -> Tensor:
        """[B, n] -> what the filters sum [B, fft bins used, T]; what is `prepared` stays as it is."""
        if waveforms.dim() == 4:
            return waveforms
        spectrum = torch.stft(
            waveforms, self.config.n_fft, self.config.hop_samples, window=self.window, return_complex=True
        )
        return self.summed(spectrum[:, : self.filters.shape[1]].abs())

    def bands(self, spectrum: Tensor, semitones: Tensor | None = None) -> Tensor:
        """Spectrum [B, fft bins, T], each pitched by `semitones` [B] -> powers [B, bands, T].

        A bin at f then counts as one at f * 2^(semitones / 12), to the nearest step: the filters are read there.
        """
        steps = torch.zeros(len(spectrum)) if semitones is None else semitones * self.steps_per_semitone
        which = steps.round().long().clamp(-self.steps, self.steps).to(spectrum.device) + self.steps
        if spectrum.dim() == 4:
            return spectrum[torch.arange(len(spectrum), device=spectrum.device), which].float().square()
        return self.powers(self.filters @ spectrum if semitones is None else self.pitched[which] @ spectrum)

    def prepared(self, waveforms: Tensor) -> Tensor:
        """[B, n] -> roots of the powers at every pitch, [B, steps, bands, T] float16: `bands` takes its pick."""
        return self.roots(self.pitched @ self.stft(waveforms)[:, None]).half()


class LogMelSpectra(FilterbankSpectra):
    """Its bank sums powers."""

    steps_per_semitone = 2  # its bands are a semitone wide or wider

    def __init__(self, front_end: LogMelFrontEnd, semitones: float) -> None:
        """`semitones`: the furthest that anything will be pitched, up or down."""
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
    """Its bank sums magnitudes; patches are whitened, which takes frames on either side of the window."""

    config: LogFrequencyConfig
    steps_per_semitone = 4  # a step is half a bin
    mean_over_bins: Tensor
    mean_over_frames: Tensor

    def __init__(self, front_end: LogFrequencyFrontEnd, semitones: float) -> None:
        """`semitones`: the furthest that anything will be pitched, up or down."""
        config = front_end.config
        super().__init__(config, front_end.filters, 2 / float(front_end.window.sum()), semitones)
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
        """Powers [B, bands, frames] -> whitened patches [B, F, W], pooled, of unit norm."""
        white = self.whitened(bands)
        return normalised(pooled_bins(F.avg_pool1d(white, self.config.pool_frames), self.config.pool_bins))

    def whitened(self, bands: Tensor) -> Tensor:
        """Powers [B, bands, frames] -> whitened frames [B, bands, window_frames]."""
        level = torch.log((bands.sqrt() / FLOOR).clamp(min=1))
        # LogFrequencyFrontEnd.whitened as two products: its pooling took six tenths of the time of a pair
        white = (level - self.mean_over_bins @ level @ self.mean_over_frames).clamp(min=0)
        return white[..., self.context_frames : -self.context_frames]
