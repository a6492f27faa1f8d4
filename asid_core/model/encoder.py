"""The paper's encoder: a window of a spectrogram -> graph nodes -> one L2-normalised vector.

Source: arXiv:2506.14684, section 3.2. Windows may have any size; the number of nodes depends on it.
"""

from __future__ import annotations

from copy import deepcopy
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from asid_core.config import GnnConfig
from asid_core.model.base import Encoder
from asid_core.model.graph import MaxRelativeConvolution, dilated_neighbours, drop_edges


def scaled_windows(windows: Tensor) -> Tensor:
    """Scale each window [B, F, W] to 0..1 by its own minimum and maximum. A constant window becomes all zeros."""
    low, high = windows.amin((1, 2), keepdim=True), windows.amax((1, 2), keepdim=True)
    span = high - low
    return (windows - low) / torch.where(span > 0, span, 1)


class Patches(nn.Module):
    """Embeds the patches of a window, stacked with a time ramp and a frequency ramp that encode their positions."""

    def __init__(self, config: GnnConfig) -> None:
        super().__init__()
        size = (config.patch_bins, config.patch_frames)
        self.conv = nn.Conv2d(3, config.patch_channels, size, stride=size)

    def forward(self, windows: Tensor) -> Tensor:
        """Windows [B, F, W] -> [B, N, patch_channels], N = (F // patch_bins) * (W // patch_frames), row by row."""
        _, bins, frames = windows.shape
        scaled = scaled_windows(windows).to(self.conv.weight.dtype)
        time = torch.linspace(0, 1, frames, device=scaled.device, dtype=scaled.dtype).expand_as(scaled)
        frequency = torch.linspace(0, 1, bins, device=scaled.device, dtype=scaled.dtype)[:, None].expand_as(scaled)
        patches: Tensor = self.conv(torch.stack([time, frequency, scaled], dim=1)).relu()
        return patches.flatten(2).transpose(1, 2)


class NormedLinear(nn.Module):
    """A linear layer and a batch norm on nodes [B, N, C]; the paper's 1x1 convolution."""

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True) -> None:
        super().__init__()
        self.linear = nn.Linear(in_channels, out_channels, bias=bias)
        self.norm: nn.BatchNorm1d | nn.Identity = nn.BatchNorm1d(out_channels)

    def forward(self, nodes: Tensor) -> Tensor:
        """[B, N, in] -> [B, N, out]."""
        output: Tensor = self.norm(self.linear(nodes.flatten(0, 1)))
        return output.view(*nodes.shape[:2], -1)


def drop_paths(branch: Tensor, p: float) -> Tensor:
    """Stochastic depth: zero a residual branch [B, N, C] with probability `p` per window, and scale up the others."""
    keep = torch.rand(branch.shape[0], 1, 1, device=branch.device) >= p
    return branch * keep / (1 - p)


class GraphBlock(nn.Module):
    """Max-relative convolution between two linear layers, then a feed-forward network of four times the width."""

    def __init__(self, channels: int, config: GnnConfig, dilation: int, path_drop: float) -> None:
        super().__init__()
        self.k, self.dilation = config.k, dilation
        self.edge_drop, self.path_drop = config.edge_drop, path_drop
        self.enter = NormedLinear(channels, channels)
        self.relative = MaxRelativeConvolution(channels)
        self.leave = NormedLinear(2 * channels, channels)
        self.norm = nn.BatchNorm1d(channels)
        self.widen = NormedLinear(channels, 4 * channels)
        self.narrow = NormedLinear(4 * channels, channels)

    def forward(self, nodes: Tensor) -> Tensor:
        """Nodes [B, N, C] -> [B, N, C]. Neighbours are computed from the block's input, before `enter`."""
        neighbours = dilated_neighbours(nodes, self.k, self.dilation, ties_as_published=not self.training)
        if self.training and self.edge_drop > 0:
            neighbours = drop_edges(neighbours, self.edge_drop)
        graph = self.leave(self.relative(self.enter(nodes).relu(), neighbours))
        mixed = self._residual(nodes, graph)
        mixed = self.norm(mixed.flatten(0, 1)).relu().view_as(mixed)
        return self._residual(mixed, self.narrow(self.widen(mixed).relu()))

    def _residual(self, nodes: Tensor, branch: Tensor) -> Tensor:
        if self.training and self.path_drop > 0:
            branch = drop_paths(branch, self.path_drop)
        return nodes + branch


class Downsample(nn.Module):
    """Halves the number of nodes between two stages, by a strided convolution along their row-by-row order."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(in_channels, out_channels, 3, stride=2, padding=1)
        self.norm: nn.BatchNorm1d | nn.Identity = nn.BatchNorm1d(out_channels)

    def forward(self, nodes: Tensor) -> Tensor:
        """[B, N, in] -> [B, ceil(N / 2), out]."""
        output: Tensor = self.norm(self.conv(nodes.transpose(1, 2))).relu()
        return output.transpose(1, 2)


def build_layers(config: GnnConfig) -> nn.ModuleList:
    """The graph blocks, with a downsample between stages. Dilation and path dropout grow with depth."""
    num_blocks = sum(config.blocks)
    layers = nn.ModuleList()
    built = 0
    for stage, (channels, blocks) in enumerate(zip(config.channels, config.blocks, strict=True)):
        if stage:
            layers.append(Downsample(config.channels[stage - 1], channels))
        for _ in range(blocks):
            path_drop = config.stochastic_depth * built / max(num_blocks - 1, 1)
            layers.append(GraphBlock(channels, config, min(len(layers) // 4 + 1, 3), path_drop))
            built += 1
    return layers


def num_nodes(config: GnnConfig, bins: int, frames: int) -> int:
    """Number of final nodes of a window [bins, frames]. Raises ValueError if it is smaller than one patch."""
    patches = (bins // config.patch_bins) * (frames // config.patch_frames)
    if patches == 0:
        raise ValueError(
            f"a window of {bins} bins x {frames} frames is smaller than a patch of {config.patch_bins} x "
            f"{config.patch_frames}; reduce encoder.patch_bins and encoder.patch_frames"
        )
    *_, last = accumulate(config.channels[1:], lambda n, _: -(-n // 2), initial=patches)
    return last


class GnnEncoder(Encoder):
    """Windows -> vectors and final nodes.

    With `graph_blocks` off, all blocks (graph and feed-forward) are skipped, as in the authors' code. Their parameters
    are kept, so that published checkpoints load completely, but are not trained.
    """

    may_use_bfloat16 = True

    def __init__(self, config: GnnConfig) -> None:
        super().__init__()
        self.config = config
        self.patches = Patches(config)
        self.stem = NormedLinear(config.patch_channels, config.channels[0], bias=False)
        self.layers = build_layers(config)
        if config.head == "pooled":
            self.pool = nn.Linear(config.channels[-1], config.pooled_dim)
            self.project = nn.Sequential(
                nn.Linear(config.pooled_dim, config.hidden_dim), nn.ELU(), nn.Linear(config.hidden_dim, config.dim)
            )
        if not config.graph_blocks:
            for layer in self.layers:
                layer.requires_grad_(isinstance(layer, Downsample))

    def nodes(self, windows: Tensor) -> Tensor:
        """Windows [B, F, W] -> final nodes [B, N, C]."""
        nodes = F.leaky_relu(self.stem(self.patches(windows)), 0.2)
        for layer in self.layers:
            if self.config.graph_blocks or isinstance(layer, Downsample):
                nodes = layer(nodes)
        return nodes

    def pooled(self, nodes: Tensor) -> Tensor:
        """Nodes [B, N, C] -> [B, pooled_dim]. Averages before the linear layer, which gives the same as after it."""
        pooled: Tensor = self.pool(nodes.mean(1))
        return pooled

    def forward(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Windows [B, F, W] -> (vectors [B, dim] L2-normalised float32, nodes [B, C, N]).

        A constant window (silence) gives the zero vector.
        """
        nodes = self.nodes(windows)
        vectors = F.normalize(self.project(self.pooled(nodes)).float(), dim=1)
        silent = windows.amax((1, 2)) == windows.amin((1, 2))
        return vectors.masked_fill(silent[:, None], 0), nodes.transpose(1, 2)

    def for_inference(self, dtype: torch.dtype) -> Encoder:
        """A copy in `dtype`, with its batch norms folded into the weights."""
        return folded(self).to(dtype)


def folded(encoder: GnnEncoder) -> GnnEncoder:
    """A copy for inference only, with each batch norm after a linear layer or convolution folded into its weights."""
    copy = deepcopy(encoder).eval().requires_grad_(False)
    for module in copy.modules():
        if not isinstance(module, NormedLinear | Downsample) or isinstance(module.norm, nn.Identity):
            continue
        if isinstance(module, NormedLinear):
            module.linear = fuse_linear_bn_eval(module.linear, module.norm)
        else:
            module.conv = fuse_conv_bn_eval(module.conv, module.norm)
        module.norm = nn.Identity()
    return copy
