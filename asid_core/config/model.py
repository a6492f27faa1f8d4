"""Sections of the config that make a model: front end, encoder, reranker."""

from __future__ import annotations

import math
from dataclasses import field, fields
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from asid_core.config.values import (
    SAMPLE_RATE_HZ,
    STRICT,
    Bins,
    Blocks,
    Dim,
    FftSize,
    Frames,
    OddSize,
    Samples,
    ShareBelow1,
    Stages,
    Width,
)

MAX_PATCH_VALUES = 65_536


@dataclass(frozen=True, config=STRICT)
class LogMelConfig:
    """The paper's front end: a power mel spectrogram in dB (arXiv:2506.14684, section 3.1)."""

    kind: Literal["log_mel"] = "log_mel"
    n_fft: FftSize = 1024
    hop_samples: Samples = 512
    bins: Bins = 64
    window_frames: Frames = 128
    window_hop_frames: Frames = 16

    @property
    def patch_size(self) -> tuple[int, int]:
        """(bins, frames) of an encoder's input."""
        return self.bins, self.window_frames


@dataclass(frozen=True, config=STRICT)
class LogFrequencyConfig:
    """Whitened log-frequency spectrogram, in which a pitch shift is a shift of bins."""

    kind: Literal["log_frequency"] = "log_frequency"
    n_fft: FftSize = 4096
    hop_samples: Samples = 640
    bins_per_octave: Annotated[int, Field(ge=1, le=192)] = 24
    bins: Bins = 156
    f_min_hz: Annotated[float, Field(ge=16, le=4000)] = 65.4
    mean_bins: OddSize = 25
    mean_frames: OddSize = 25
    pool_bins: Bins = 2
    pool_frames: Frames = 4
    window_frames: Frames = 100
    window_hop_frames: Frames = 4

    @property
    def patch_size(self) -> tuple[int, int]:
        """(bins, frames) of an encoder's input."""
        return self.bins // self.pool_bins, self.window_frames // self.pool_frames

    def has_frames_of(self, other: LogFrequencyConfig) -> bool:
        """Whether both compute the same frames; their windows and pooling may differ."""
        windows = {"pool_bins", "pool_frames", "window_frames", "window_hop_frames"}
        return all(getattr(self, f.name) == getattr(other, f.name) for f in fields(self) if f.name not in windows)

    @model_validator(mode="after")
    def _check(self) -> LogFrequencyConfig:
        if self.bins % self.pool_bins or self.window_frames % self.pool_frames:
            raise ValueError("bins must be a multiple of pool_bins, and window_frames of pool_frames")
        if not self.mean_bins % 2 or not self.mean_frames % 2:
            raise ValueError("mean_bins and mean_frames must be odd, because they are centred on a point")
        highest = self.f_min_hz * 2 ** (min(self.bins, 16 * self.bins_per_octave) / self.bins_per_octave)
        if highest > SAMPLE_RATE_HZ / 2:
            raise ValueError(f"bins reach beyond {SAMPLE_RATE_HZ // 2} Hz, half the sample rate; use fewer bins")
        return self


# what a reranker of kind `aligned` compares: 4 s in cells of a semitone and 80 ms
ALIGNED_PATCH = LogFrequencyConfig(window_frames=100, pool_frames=2)


@dataclass(frozen=True, config=STRICT)
class CqtConfig:
    """Constant-Q transform in decibels: the front end of the ResNet-IBN baseline (arXiv:2502.06364)."""

    kind: Literal["cqt"] = "cqt"
    rate_hz: Annotated[int, Field(ge=8000, le=48_000)] = 22_050
    hop_samples: Samples = 320  # at 16 kHz: 20 ms, which is 441 samples at 22.05 kHz
    bins_per_octave: Annotated[int, Field(ge=1, le=48)] = 12
    bins: Bins = 84
    f_min_hz: Annotated[float, Field(ge=10, le=4000)] = 32.7
    window_frames: Frames = 250
    window_hop_frames: Frames = 25

    @property
    def patch_size(self) -> tuple[int, int]:
        """(bins, frames) of an encoder's input."""
        return self.bins, self.window_frames

    @property
    def n_fft(self) -> int:
        """Length of the longest filter in samples at 16 kHz: the audio that a frame depends on."""
        return math.ceil(SAMPLE_RATE_HZ / self.f_min_hz / (2 ** (1 / self.bins_per_octave) - 1))

    @model_validator(mode="after")
    def _check(self) -> CqtConfig:
        if self.hop_samples * self.rate_hz % SAMPLE_RATE_HZ:
            raise ValueError(f"hop_samples {self.hop_samples} is not a whole number at {self.rate_hz} Hz; use 320")
        octaves = min(self.bins - 1, 16 * self.bins_per_octave) / self.bins_per_octave
        # upper edge of the highest filter
        if self.f_min_hz * 2**octaves * 2 ** (1 / self.bins_per_octave) > SAMPLE_RATE_HZ / 2:
            raise ValueError(f"{self.bins} bins reach beyond {SAMPLE_RATE_HZ // 2} Hz, half the sample rate; use fewer")
        return self


FrontEndConfig = LogMelConfig | LogFrequencyConfig | CqtConfig


class BaseEncoderConfig:
    """Properties that every encoder section has."""

    trained_by: ClassVar[Literal["contrast", "triplet", "principal_components", "discriminant"]]
    needs_log_frequency: ClassVar[bool] = False

    @property
    def is_fitted(self) -> bool:
        """Whether its projection is fitted in closed form instead of trained by gradient descent."""
        return self.trained_by in ("principal_components", "discriminant")

    @property
    def starts_from_projection(self) -> bool:
        """Whether its training starts from the projection of a `discriminant` encoder."""
        return False

    @property
    def has_graph_blocks(self) -> bool:
        """Whether it has graph blocks that are enabled."""
        return False


@dataclass(frozen=True, config=STRICT)
class LinearConfig(BaseEncoderConfig):
    """A projection of the whitened patch by PCA. Needs the `log_frequency` front end."""

    trained_by = "principal_components"
    needs_log_frequency = True
    kind: Literal["linear"] = "linear"
    dim: Dim = 256


@dataclass(frozen=True, config=STRICT)
class DiscriminantConfig(BaseEncoderConfig):
    """A projection of the whitened patch by linear discriminant analysis. Needs the `log_frequency` front end.

    It is fitted to pairs (clean window, same window in a mix), so that samples keep their direction under other music.
    """

    trained_by = "discriminant"
    needs_log_frequency = True
    kind: Literal["discriminant"] = "discriminant"
    dim: Dim = 128


@dataclass(frozen=True, config=STRICT)
class GnnConfig(BaseEncoderConfig):
    """The paper's encoder (arXiv:2506.14684, section 3)."""

    trained_by = "contrast"
    kind: Literal["gnn"] = "gnn"
    patch_channels: Dim = 8
    patch_bins: Bins = 4
    patch_frames: Frames = 8
    channels: Stages = (64, 128, 256, 512)
    blocks: Blocks = (2, 2, 6, 2)
    k: Annotated[int, Field(ge=1, le=256)] = 5
    graph_blocks: bool = True
    edge_drop: ShareBelow1 = 0.2
    stochastic_depth: ShareBelow1 = 0.1
    pooled_dim: Width = 1024
    hidden_dim: Width = 4096
    dim: Dim = 128
    # pooled: the paper's head, on pooled nodes. gains: the nodes weigh the input of a projection (gain_encoder.py)
    head: Literal["pooled", "gains"] = "pooled"

    @property
    def starts_from_projection(self) -> bool:
        """True for head `gains`, which weighs a window before its projection."""
        return self.head == "gains"

    @property
    def has_graph_blocks(self) -> bool:
        """Whether the graph blocks are enabled."""
        return self.graph_blocks

    @model_validator(mode="after")
    def _check(self) -> GnnConfig:
        if len(self.channels) != len(self.blocks):
            raise ValueError(f"channels has {len(self.channels)} stages but blocks has {len(self.blocks)}")
        if self.head == "gains" and len(self.channels) != 1:
            raise ValueError("head: gains needs exactly one stage of channels and blocks")
        return self


@dataclass(frozen=True, config=STRICT)
class ResnetIbnConfig(BaseEncoderConfig):
    """The baseline: a residual network with instance and batch normalisation, GeM pooling (arXiv:2502.06364)."""

    trained_by = "triplet"
    kind: Literal["resnet_ibn"] = "resnet_ibn"
    blocks: Blocks = (3, 4, 6, 3)  # as in ResNet-50
    width: Annotated[int, Field(ge=1, le=512)] = 64  # channels of the first stage's bottlenecks; doubled by each stage
    classes: Width = 2048  # of the classification loss in training; not used for fingerprints

    @property
    def dim(self) -> int:
        """Length of a vector: the channels of the last stage, 2048 at width 64."""
        return int(4 * self.width * 2 ** (len(self.blocks) - 1))


EncoderConfig = LinearConfig | DiscriminantConfig | GnnConfig | ResnetIbnConfig


@dataclass(frozen=True, config=STRICT)
class RerankerConfig:
    """The stage that rescores candidates from their features.

    `attention`: the paper's cross-attention classifier of nodes; with `heads = 0` the model has no reranker. `aligned`:
    a convolutional network on patches laid over each other (aligned_reranker.py).
    """

    kind: Literal["attention", "aligned"] = "attention"
    heads: Annotated[int, Field(ge=0, le=64)] = 4
    hidden_dim: Width = 128
    dropout: ShareBelow1 = 0.3
    channels: Annotated[int, Field(ge=1, le=512)] = 24  # of the first layer of `aligned`

    @property
    def needs_nodes(self) -> bool:
        """Whether it compares the nodes of a graph network."""
        return self.kind == "attention" and self.heads > 0

    @property
    def exists(self) -> bool:
        """Whether the model has a reranker."""
        return self.kind == "aligned" or self.heads > 0


@dataclass(frozen=True, config=STRICT)
class ModelConfig:
    """The model that computes fingerprints. The hash of this section and the weights is the `model_id`."""

    name: str = "linear"
    front_end: Annotated[FrontEndConfig, Field(discriminator="kind")] = field(default_factory=LogFrequencyConfig)
    encoder: Annotated[EncoderConfig, Field(discriminator="kind")] = field(default_factory=LinearConfig)
    reranker: RerankerConfig = field(default_factory=lambda: RerankerConfig(heads=0))

    @model_validator(mode="after")
    def _check(self) -> ModelConfig:
        front, encoder = self.front_end, self.encoder
        bins, frames = front.patch_size
        if bins * frames > MAX_PATCH_VALUES:
            raise ValueError(f"a window of {bins} bins x {frames} frames has more than {MAX_PATCH_VALUES:,} values")
        if encoder.needs_log_frequency and front.kind != "log_frequency":
            raise ValueError(f"encoder.kind: {encoder.kind} needs front_end.kind: log_frequency")
        if self.reranker.needs_nodes and encoder.kind != "gnn":
            raise ValueError("reranker.kind: attention needs the nodes of a gnn encoder; set reranker.heads to 0")
        return self
