"""Whitened log-frequency spectrogram: a pitch shift is a shift of bins, a tempo change a scaling of time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from asid_core.config import SAMPLE_RATE_HZ, LogFrequencyConfig
from asid_core.signal.front_end import FrontEnd
from asid_core.signal.probing import normalised, pooled_bins, probed_patches

# -80 dB re full scale: below it lies what codecs and 16 bits leave behind, which whitening would blow up to music
FLOOR = 1e-4


def triangular_filters(config: LogFrequencyConfig) -> Tensor:
    """Rows of the filterbank: [bins, n_fft // 2 + 1], each summing to 1.

    Half-widths are the distance to the next centre, but at least one FFT bin: at 65 Hz bins lie 1.9 Hz apart, the FFT's
    3.9 Hz, and a narrower triangle would catch nothing.
    """
    fft_hz = torch.linspace(0, SAMPLE_RATE_HZ / 2, config.n_fft // 2 + 1, dtype=torch.float64)
    steps = torch.arange(config.bins + 1, dtype=torch.float64) / config.bins_per_octave
    centres = config.f_min_hz * 2.0**steps
    half = (centres[1:] - centres[:-1]).clamp(min=SAMPLE_RATE_HZ / config.n_fft)
    weights = (1 - (fft_hz[None] - centres[:-1, None]).abs() / half[:, None]).clamp(min=0)
    return (weights / weights.sum(1, keepdim=True)).float()


class LogFrequencyFrontEnd(FrontEnd):
    """Waveform -> whitened features, `config.bins` x frames at `hop_samples`; all values >= 0, silence is 0."""

    config: LogFrequencyConfig
    filters: Tensor
    window: Tensor

    def __init__(self, config: LogFrequencyConfig) -> None:
        super().__init__()
        self.config = config
        filters = triangular_filters(config)
        # bins above the highest filter are never looked at: 27 % of the product saved
        self.used_bins = int(filters.sum(0).nonzero().max()) + 1
        self.register_buffer("filters", filters[:, : self.used_bins].contiguous(), persistent=False)
        self.register_buffer("window", torch.hann_window(config.n_fft), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """[B, n] float32 at 16 kHz -> [B, bins, 1 + n // hop_samples]; n > n_fft // 2 (the edges are reflected)."""
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
        magnitude = spectrum[:, : self.used_bins].abs() * (2 / self.window.sum())
        return torch.log((self.filters @ magnitude / FLOOR).clamp(min=1))  # silence exactly 0, and so whitened to 0

    def whitened(self, level: Tensor) -> Tensor:
        """Log magnitudes [B, bins, T] minus their local mean, the negative part cut to 0."""
        return (level - self._local_mean(level)).clamp(min=0)

    def windows(self, features: Tensor) -> Tensor:
        """Every window of features [F, T], the time axis pooled: [T - window_frames + 1, F, W]."""
        front = self.config
        # a running mean holds the pooled frames of a window wherever it starts
        pooled = F.avg_pool1d(features, front.pool_frames, stride=1)
        span = front.window_frames - front.pool_frames + 1
        return pooled.unfold(1, span, 1)[..., :: front.pool_frames].transpose(0, 1)

    def patches(self, windows: Tensor) -> Tensor:
        """Windows [n, F, W] -> patches [n, bins, frames]: bins pooled, unit norm; zero where there is too little."""
        return normalised(pooled_bins(windows, self.config.pool_bins))

    def nearest_probe(self, semitones: float, tempo_ratio: float) -> tuple[float, float]:
        """Any tempo ratio; the nearest pitch shift that is a whole number of bins."""
        step = 12 / self.config.bins_per_octave
        return round(semitones / step) * step, tempo_ratio

    def probe(self, features: Tensor, centre_frames: Tensor, semitones: Sequence[float], tempo_ratio: float) -> Tensor:
        """Patches [len(semitones), n, bins, frames] of any probe; zero beyond the ends of features [F, T]."""
        return probed_patches(features, centre_frames, semitones, tempo_ratio, self.config)

    def _local_mean(self, level: Tensor) -> Tensor:
        """Mean over `mean_bins` x `mean_frames` around each point; at the edges, over what is there."""
        rows, columns = self.config.mean_bins, self.config.mean_frames
        mean = F.avg_pool2d(level[:, None], (rows, 1), 1, (rows // 2, 0), count_include_pad=False)
        return F.avg_pool2d(mean, (1, columns), 1, (0, columns // 2), count_include_pad=False)[:, 0]


class LevelFrontEnd(LogFrequencyFrontEnd):
    """The log magnitudes before whitening: how loud things are, not only where they stand out."""

    def forward(self, waveform: Tensor) -> Tensor:
        """[B, n] float32 at 16 kHz -> [B, bins, 1 + n // hop_samples]."""
        return self.level(waveform)
