"""Whitened log-frequency spectrogram: a pitch shift moves bins, and a tempo change scales time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from asid_core.config import SAMPLE_RATE_HZ, LogFrequencyConfig
from asid_core.signal.front_end import FrontEnd
from asid_core.signal.probing import normalised, pooled_bins, probed_patches, stretched, whole_shifts

# -80 dBFS. What is softer is noise of codecs and quantisation, which whitening would amplify.
FLOOR = 1e-4


def running_mean(bins: int, width: int) -> Tensor:
    """The matrix [bins, bins] that averages over `width` (odd) bins around each bin; at the edges, over fewer."""
    number = torch.arange(bins)
    near = ((number[:, None] - number).abs() <= width // 2).float()
    return near / near.sum(1, keepdim=True)


def triangular_filters(config: LogFrequencyConfig) -> Tensor:
    """The filterbank [bins, n_fft // 2 + 1]; each row sums to 1.

    The half-width of a triangle is the distance to the next centre, but at least one FFT bin, because a narrower
    triangle might contain no FFT bin at all.
    """
    fft_hz = torch.linspace(0, SAMPLE_RATE_HZ / 2, config.n_fft // 2 + 1, dtype=torch.float64)
    steps = torch.arange(config.bins + 1, dtype=torch.float64) / config.bins_per_octave
    centres = config.f_min_hz * 2.0**steps
    half = (centres[1:] - centres[:-1]).clamp(min=SAMPLE_RATE_HZ / config.n_fft)
    weights = (1 - (fft_hz[None] - centres[:-1, None]).abs() / half[:, None]).clamp(min=0)
    return (weights / weights.sum(1, keepdim=True)).float()


def _extent(filters: Tensor, start: int, stop: int) -> tuple[slice, slice]:
    """The rows start to stop of `filters`, and the range of columns in which they are not zero."""
    used = filters[start:stop].sum(0).nonzero()
    return slice(start, stop), slice(int(used.min()), int(used.max()) + 1)


class LogFrequencyFrontEnd(FrontEnd):
    """Waveform -> whitened features [B, bins, T]; all values are >= 0, and silence is 0."""

    config: LogFrequencyConfig
    filters: Tensor
    window: Tensor
    mean_over_bins: Tensor

    def __init__(self, config: LogFrequencyConfig) -> None:
        super().__init__()
        self.config = config
        filters = triangular_filters(config)
        # leave out FFT bins above the highest filter
        self.used_bins = int(filters.sum(0).nonzero().max()) + 1
        self.register_buffer("filters", filters[:, : self.used_bins].contiguous(), persistent=False)
        # filters of an octave, and the FFT bins that they read: multiplying by the other zeros takes six times longer
        octaves = range(0, config.bins, config.bins_per_octave)
        self.octaves = [_extent(filters, start, start + config.bins_per_octave) for start in octaves]
        self.register_buffer("window", torch.hann_window(config.n_fft), persistent=False)
        self.register_buffer("mean_over_bins", running_mean(config.bins, config.mean_bins), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Waveform [B, n] float32 at 16 kHz, n > n_fft // 2 -> [B, bins, 1 + n // hop_samples]. Reflects edges."""
        return self.whitened(self.level(waveform))

    def level(self, waveform: Tensor) -> Tensor:
        """Log magnitudes [B, bins, 1 + n // hop_samples] of audio [B, n], in nepers above FLOOR."""
        spectrum = torch.stft(
            waveform,
            self.config.n_fft,
            self.config.hop_samples,
            window=self.window,
            center=True,
            pad_mode="reflect",
            return_complex=True,
        )
        used = spectrum[:, : self.used_bins]
        magnitude = (used.real.square() + used.imag.square()).sqrt()  # `abs` of complex numbers takes 3.5 times longer
        magnitude *= 2 / self.window.sum()
        bands = torch.cat([self.filters[rows, columns] @ magnitude[:, columns] for rows, columns in self.octaves], 1)
        return torch.log((bands / FLOOR).clamp(min=1))  # silence is exactly 0, also after whitening

    def whitened(self, level: Tensor) -> Tensor:
        """Log magnitudes [B, bins, T] minus their local mean; negative values become 0."""
        return (level - self._local_mean(level)).clamp(min=0)

    def windows(self, features: Tensor) -> Tensor:
        """All windows of features [F, T], pooled over time: [T - window_frames + 1, F, W]."""
        front = self.config
        # a running mean contains the pooled frames of every window
        pooled = F.avg_pool1d(features, front.pool_frames, stride=1)
        span = front.window_frames - front.pool_frames + 1
        return pooled.unfold(1, span, 1)[..., :: front.pool_frames].transpose(0, 1)

    def patches(self, windows: Tensor) -> Tensor:
        """Windows [n, F, W] -> patches [n, bins, frames]: pooled over bins, unit norm; nearly silent ones become 0."""
        return normalised(pooled_bins(windows, self.config.pool_bins))

    def nearest_probe(self, semitones: float, tempo_ratio: float) -> tuple[float, float]:
        """The pitch shift rounded to a whole number of bins; any tempo ratio."""
        step = 12 / self.config.bins_per_octave
        return round(semitones / step) * step, tempo_ratio

    def probe(self, features: Tensor, centre_frames: Tensor, semitones: Sequence[float], tempo_ratio: float) -> Tensor:
        """See FrontEnd.probe. Undoes any probe; windows may reach beyond features [F, T], which count as 0 there."""
        return probed_patches(features, centre_frames, semitones, tempo_ratio, self.config)

    def whole_shifts(self, semitones: Sequence[float]) -> list[int] | None:
        """See FrontEnd.whole_shifts."""
        return whole_shifts(semitones, self.config)

    def at_tempo(self, features: Tensor, centre_frames: Tensor, tempo_ratio: float) -> Tensor:
        """See FrontEnd.at_tempo."""
        front = self.config
        cut = stretched(features, centre_frames, tempo_ratio, front.window_frames, front.pool_frames)
        return pooled_bins(cut, front.pool_bins)

    def _local_mean(self, level: Tensor) -> Tensor:
        """Mean over `mean_bins` x `mean_frames` around each point; at the edges, over fewer points."""
        columns = self.config.mean_frames
        mean = self.mean_over_bins @ level
        return F.avg_pool1d(mean, columns, 1, columns // 2, count_include_pad=False)


class LevelFrontEnd(LogFrequencyFrontEnd):
    """Waveform -> log magnitudes before whitening."""

    def forward(self, waveform: Tensor) -> Tensor:
        """Waveform [B, n] float32 at 16 kHz -> [B, bins, 1 + n // hop_samples], in nepers above FLOOR."""
        return self.level(waveform)
