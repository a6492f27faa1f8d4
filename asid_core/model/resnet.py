"""The baseline encoder: a residual network on the constant-Q transform (arXiv:2502.06364).

ResNet-50 (He et al. 2016) with IBN-a (Pan et al. 2018): except in the last stage, the first norm of each block is half
instance and half batch normalisation. Then generalised-mean pooling (Radenovic et al. 2018) and a batch norm ("BNNeck",
Luo et al. 2019), with which a triplet and a classification loss can share one vector.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asid_core.config import ResnetIbnConfig
from asid_core.model.base import Encoder

EXPANSION = 4


class InstanceBatchNorm(nn.Module):
    """IBN-a: instance normalisation of the first half of the channels, batch normalisation of the rest."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.split = channels // 2
        self.instance = nn.InstanceNorm2d(self.split, affine=True)
        self.batch = nn.BatchNorm2d(channels - self.split)

    def forward(self, maps: Tensor) -> Tensor:
        """[B, C, F, T] -> [B, C, F, T]."""
        return torch.cat([self.instance(maps[:, : self.split]), self.batch(maps[:, self.split :])], 1)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions with a shortcut. `stride` is that of the 3x3 one; `ibn` selects the first norm."""

    def __init__(self, in_channels: int, width: int, stride: int, ibn: bool) -> None:
        super().__init__()
        out = EXPANSION * width
        self.branch = nn.Sequential(
            nn.Conv2d(in_channels, width, 1, bias=False),
            InstanceBatchNorm(width) if ibn else nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, out, 1, bias=False),
            nn.BatchNorm2d(out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or in_channels != out:
            self.shortcut = nn.Sequential(nn.Conv2d(in_channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, maps: Tensor) -> Tensor:
        """[B, in_channels, F, T] -> [B, 4 * width, F / stride, T / stride]."""
        output: Tensor = (self.branch(maps) + self.shortcut(maps)).relu()
        return output


class GeneralisedMean(nn.Module):
    """GeM pooling: (mean x^p)^(1/p) over a map, between mean (p = 1) and maximum. p is learnt, starting at 3."""

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor(3.0))

    def forward(self, maps: Tensor) -> Tensor:
        """[B, C, F, T] -> [B, C]."""
        p = self.p.float().clamp(min=1)
        return maps.float().clamp(min=1e-6).pow(p).mean((2, 3)).pow(1 / p)


def standardised(windows: Tensor) -> Tensor:
    """Scale each window [B, F, W] to mean 0 and standard deviation 1. A constant window becomes all zeros."""
    deviation, mean = torch.std_mean(windows, dim=(1, 2), keepdim=True)
    return (windows - mean) / torch.where(deviation > 0, deviation, 1)


class ResnetIbnEncoder(Encoder):
    """Windows -> vectors. `classifier` is used by the training loss only."""

    def __init__(self, config: ResnetIbnConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = nn.Sequential(
            nn.Conv2d(1, config.width, 7, 2, 3, bias=False),
            nn.BatchNorm2d(config.width),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, 1),
        )
        stages: list[nn.Module] = []
        channels = config.width
        for stage, blocks in enumerate(config.blocks):
            width, last = config.width * 2**stage, stage == len(config.blocks) - 1
            for block in range(blocks):
                stages.append(Bottleneck(channels, width, 2 if stage and not block else 1, not last))
                channels = EXPANSION * width
        self.stages = nn.Sequential(*stages)
        self.pool = GeneralisedMean()
        # pooled ReLU outputs are positive; without centring, all vectors would be in a narrow cone
        self.neck = nn.BatchNorm1d(config.dim)
        self.neck.bias.requires_grad_(False)
        self.classifier = nn.Linear(config.dim, config.classes, bias=False)

    def pooled(self, windows: Tensor) -> Tensor:
        """Windows [B, F, W] -> [B, dim], not normalised."""
        maps = self.stem(standardised(windows)[:, None].to(self.classifier.weight.dtype))
        pooled: Tensor = self.neck(self.pool(self.stages(maps)))
        return pooled

    def forward(self, windows: Tensor) -> tuple[Tensor, None]:
        """Windows [B, F, W] -> (vectors [B, dim] L2-normalised float32, None). A constant window gives zeros."""
        vectors = F.normalize(self.pooled(windows).float(), dim=1)
        silent = windows.amax((1, 2)) == windows.amin((1, 2))
        return vectors.masked_fill(silent[:, None], 0), None
