"""Sections of the config that make a model: front end, encoder, reranker."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

SAMPLE_RATE_HZ = 16_000


@dataclass(frozen=True)
class LogMelConfig:
    """The paper's front end: power mel spectrogram in dB."""

    kind: Literal["log_mel"] = "log_mel"
    n_fft: int = 1024
    hop_samples: int = 512
    bins: int = 64
    window_frames: int = 128
    window_hop_frames: int = 16

    @property
    def patch_size(self) -> tuple[int, int]:
        """(bins, frames) of what the encoder takes."""
        return self.bins, self.window_frames


@dataclass(frozen=True)
class LogFrequencyConfig:
    """Whitened log-frequency spectrogram (DESIGN section 4): a pitch shift is a shift of bins."""

    kind: Literal["log_frequency"] = "log_frequency"
    n_fft: int = 4096
    hop_samples: int = 640
    bins_per_octave: int = 24
    bins: int = 156
    f_min_hz: float = 65.4
    mean_bins: int = 25
    mean_frames: int = 25
    pool_bins: int = 2
    pool_frames: int = 4
    window_frames: int = 100
    window_hop_frames: int = 4

    @property
    def patch_size(self) -> tuple[int, int]:
        """(bins, frames) of what the encoder takes."""
        return self.bins // self.pool_bins, self.window_frames // self.pool_frames


@dataclass(frozen=True)
class CqtConfig:
    """Constant-Q transform in decibels: the front end of the ResNet-IBN baseline (arXiv:2502.06364)."""

    kind: Literal["cqt"] = "cqt"
    rate_hz: int = 22_050
    hop_samples: int = 320  # of the table's 16 kHz; 441 at 22.05 kHz: 20 ms
    bins_per_octave: int = 12
    bins: int = 84
    f_min_hz: float = 32.7
    window_frames: int = 250
    window_hop_frames: int = 25

    @property
    def patch_size(self) -> tuple[int, int]:
        """(bins, frames) of what the encoder takes."""
        return self.bins, self.window_frames

    @property
    def n_fft(self) -> int:
        """Samples at 16 kHz that the longest filter takes in: what a frame needs around it."""
        return math.ceil(SAMPLE_RATE_HZ / self.f_min_hz / (2 ** (1 / self.bins_per_octave) - 1))


FrontEndConfig = LogMelConfig | LogFrequencyConfig | CqtConfig


class EncoderSection:
    """What the sections of all encoders answer."""

    trained_by: ClassVar[Literal["contrast", "triplet", "principal_components", "discriminant"]]
    needs_log_frequency: ClassVar[bool] = False

    @property
    def is_fitted(self) -> bool:
        """Whether its projection is fitted in closed form, not trained by gradient."""
        return self.trained_by in ("principal_components", "discriminant")

    @property
    def starts_from_projection(self) -> bool:
        """Whether its training starts from the projection of a `discriminant` encoder."""
        return False

    @property
    def has_graph_blocks(self) -> bool:
        """Whether it has graph blocks, and these are on."""
        return False


@dataclass(frozen=True)
class LinearConfig(EncoderSection):
    """A fixed projection of the whitened patch (PCA); needs the `log_frequency` front end."""

    trained_by = "principal_components"
    needs_log_frequency = True
    kind: Literal["linear"] = "linear"
    dim: int = 256


@dataclass(frozen=True)
class DiscriminantConfig(EncoderSection):
    """Directions of the patch in which a sample under other music stays near itself; needs `log_frequency` as well."""

    trained_by = "discriminant"
    needs_log_frequency = True
    kind: Literal["discriminant"] = "discriminant"
    dim: int = 128


@dataclass(frozen=True)
class GnnConfig(EncoderSection):
    """The paper's encoder (section 3; DESIGN section 4)."""

    trained_by = "contrast"
    kind: Literal["gnn"] = "gnn"
    patch_channels: int = 8
    patch_bins: int = 4
    patch_frames: int = 8
    channels: tuple[int, ...] = (64, 128, 256, 512)
    blocks: tuple[int, ...] = (2, 2, 6, 2)
    k: int = 5
    graph_blocks: bool = True
    edge_drop: float = 0.2
    stochastic_depth: float = 0.1
    pooled_dim: int = 1024
    hidden_dim: int = 4096
    dim: int = 128
    # of the nodes, pooled: the paper's. Or gains of what a projection of the whole window is given (gain_encoder.py)
    head: Literal["pooled", "gains"] = "pooled"

    @property
    def starts_from_projection(self) -> bool:
        """The gains weigh a window before a projection."""
        return self.head == "gains"

    @property
    def has_graph_blocks(self) -> bool:
        """Whether the graph blocks are on."""
        return self.graph_blocks


@dataclass(frozen=True)
class ResnetIbnConfig(EncoderSection):
    """The baseline: a residual network with instance and batch normalisation, GeM pooling (arXiv:2502.06364)."""

    trained_by = "triplet"
    kind: Literal["resnet_ibn"] = "resnet_ibn"
    blocks: tuple[int, ...] = (3, 4, 6, 3)  # ResNet-50's
    width: int = 64  # of the first stage's bottlenecks; a stage doubles it
    classes: int = 2048  # of the training loss: recordings fall into so many; not used for fingerprints

    @property
    def dim(self) -> int:
        """Values of a vector: the last stage's channels, 2048 at width 64."""
        return int(4 * self.width * 2 ** (len(self.blocks) - 1))


EncoderConfig = LinearConfig | DiscriminantConfig | GnnConfig | ResnetIbnConfig


@dataclass(frozen=True)
class RerankerConfig:
    """The cross-attention classifier; `heads = 0` means the model has none."""

    heads: int = 4
    hidden_dim: int = 128
    dropout: float = 0.3


@dataclass(frozen=True)
class ModelConfig:
    """What makes fingerprints. Its hash, with the weights', is the `model_id`."""

    name: str = "linear"
    front_end: FrontEndConfig = field(default_factory=LogFrequencyConfig)
    encoder: EncoderConfig = field(default_factory=LinearConfig)
    reranker: RerankerConfig = field(default_factory=lambda: RerankerConfig(heads=0))
