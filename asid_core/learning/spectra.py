"""The front ends taken apart, so that a sample can be pitched, stretched and laid over other music between their steps.

In a power spectrogram a pitch shift is a scaling of the frequency axis, a change of tempo one of the time axis, a
filter a gain a band, and laying over is adding powers. So nothing here needs a phase vocoder: the filterbank is read at
shifted frequencies, and everything after it works on a few bands. Whitening comes last.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asid_core.config import SAMPLE_RATE_HZ, LogFrequencyConfig, LogMelConfig
from asid_core.signal.log_frequency import FLOOR, LogFrequencyFrontEnd
from asid_core.signal.log_mel import LogMelFrontEnd
from asid_core.signal.probing import normalised, pooled_bins

# a table of shifted filters: made a row, they took a third of the time of a pair. A quarter of a semitone is half a bin
# of the finer front end
STEPS_PER_SEMITONE = 4


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


class Spectra(nn.Module):
    """Waveforms -> band powers -> what the encoder takes, for either front end."""

    filters: Tensor
    pitched: Tensor
    window: Tensor
    band_hz: Tensor
    mean_over_bins: Tensor
    mean_over_frames: Tensor

    def __init__(self, front_end: LogMelFrontEnd | LogFrequencyFrontEnd, semitones: float) -> None:
        """`semitones`: the furthest that anything is going to be pitched, up or down."""
        super().__init__()
        self.front_end, self.config = front_end, front_end.config
        if isinstance(front_end, LogMelFrontEnd):
            filters, scale = front_end.mel.mel_scale.fb.T, 1.0  # the bank sums powers
        else:
            filters, scale = front_end.filters, 2 / float(front_end.window.sum())  # it sums magnitudes
        self.steps = round(semitones * STEPS_PER_SEMITONE)
        shifts = torch.arange(-self.steps, self.steps + 1) / STEPS_PER_SEMITONE
        self.register_buffer("filters", filters.contiguous() * scale)
        self.register_buffer("pitched", pitched_filters(self.filters, shifts))
        self.register_buffer("window", torch.hann_window(self.config.n_fft))
        if isinstance(self.config, LogFrequencyConfig):
            self.register_buffer("mean_over_bins", averaging(filters.shape[0], self.config.mean_bins))
            self.register_buffer("mean_over_frames", averaging(self.frames, self.config.mean_frames).T.contiguous())
        hz = torch.arange(filters.shape[1]) * SAMPLE_RATE_HZ / self.config.n_fft
        self.register_buffer("band_hz", (filters @ hz) / filters.sum(1).clamp(min=1e-9))

    @property
    def context_frames(self) -> int:
        """Frames needed on either side of a window."""
        return self.config.mean_frames // 2 if isinstance(self.config, LogFrequencyConfig) else 0

    @property
    def frames(self) -> int:
        """Frames of a window with its context."""
        return self.config.window_frames + 2 * self.context_frames

    def cut_samples(self, greatest_ratio: float, offset_s: float) -> int:
        """Samples that hold a window with its context at any tempo up to `greatest_ratio`, moved by `offset_s`."""
        samples = self.frames * self.config.hop_samples * greatest_ratio + 2 * offset_s * SAMPLE_RATE_HZ
        return round(samples) + self.config.n_fft

    def stft(self, waveforms: Tensor) -> Tensor:
        """[B, n] -> magnitudes to the front end's power [B, n_fft bins used, T]; what is `prepared` stays as it is."""
        if waveforms.dim() == 4:
            return waveforms
        spectrum = torch.stft(
            waveforms, self.config.n_fft, self.config.hop_samples, window=self.window, return_complex=True
        )
        magnitude = spectrum[:, : self.filters.shape[1]].abs()
        return magnitude.square() if isinstance(self.config, LogMelConfig) else magnitude

    def bands(self, spectrum: Tensor, semitones: Tensor | None = None) -> Tensor:
        """Spectrum [B, bins, T], each pitched by `semitones` [B] -> energies [B, bands, T], powers whatever the bank.

        A bin at f then counts as one at f * 2^(semitones / 12), to the nearest step: the filters are read there.
        """
        steps = torch.zeros(len(spectrum)) if semitones is None else semitones * STEPS_PER_SEMITONE
        which = steps.round().long().clamp(-self.steps, self.steps).to(spectrum.device) + self.steps
        if spectrum.dim() == 4:
            return spectrum[torch.arange(len(spectrum), device=spectrum.device), which].float().square()
        bands = self.filters @ spectrum if semitones is None else self.pitched[which] @ spectrum
        return bands if isinstance(self.config, LogMelConfig) else bands.square()

    def prepared(self, waveforms: Tensor) -> Tensor:
        """[B, n] -> roots of the energies at every pitch, [B, steps, bands, T] float16: `bands` takes its pick."""
        bands = self.pitched @ self.stft(waveforms)[:, None]
        return (bands.sqrt() if isinstance(self.config, LogMelConfig) else bands).half()

    def stretched(self, bands: Tensor, centres: Tensor, ratios: Tensor) -> Tensor:
        """`frames` frames around frame `centres` [B] of [B, bands, T], read `ratios` [B] times as fast."""
        steps = torch.arange(self.frames, device=bands.device) - self.frames / 2
        at = (centres[:, None] + steps * ratios[:, None]).clamp(0, bands.shape[2] - 1.001)
        below = at.floor().long()[:, None].expand(-1, bands.shape[1], -1)
        part = (at - at.floor())[:, None]
        return bands.gather(2, below) * (1 - part) + bands.gather(2, below + 1) * part

    def patches(self, bands: Tensor) -> Tensor:
        """Energies [B, bands, frames] -> what the encoder takes of them, [B, F, W]."""
        if isinstance(self.config, LogMelConfig):
            return 10 * bands.clamp(min=1e-10).log10()
        level = torch.log((bands.sqrt() / FLOOR).clamp(min=1))
        # LogFrequencyFrontEnd.whitened as two products: its pooling took six tenths of the time of a pair
        white = (level - self.mean_over_bins @ level @ self.mean_over_frames).clamp(min=0)
        white = white[..., self.context_frames : -self.context_frames]
        return normalised(pooled_bins(F.avg_pool1d(white, self.config.pool_frames), self.config.pool_bins))
