"""A graph network that weighs the bins of a window before the projection of `discriminant`.

Our own design, not the paper's. Each node gives gains for the bins of its own patch, and the weighed window is
projected. All gains start at 1, so training starts from the quality of the given projection.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asid_core.config import GnnConfig
from asid_core.model.encoder import GnnEncoder
from asid_core.model.linear import unit_centred
from asid_core.plain_values import ConfigError


class GainEncoder(GnnEncoder):
    """Windows -> vectors and nodes, as `GnnEncoder`."""

    def __init__(self, config: GnnConfig, bins: int, frames: int) -> None:
        """Raises ConfigError unless patches fill the window exactly, there is one stage, and `dim` fits."""
        if bins % config.patch_bins or frames % config.patch_frames or len(config.channels) != 1:
            raise ConfigError(
                f"encoder.head: gains needs one stage of encoder.channels, and patches that fill {bins} bins x "
                f"{frames} frames exactly; change encoder.patch_bins and encoder.patch_frames"
            )
        if config.dim > bins * frames:
            raise ConfigError(f"encoder.dim {config.dim} is more than the {bins * frames} values of a window")
        super().__init__(config)
        self.rows = bins // config.patch_bins
        self.gains = nn.Linear(config.channels[-1], config.patch_bins * config.patch_frames)
        self.components = nn.Linear(bins * frames, config.dim, bias=False)
        nn.init.zeros_(self.gains.weight)
        nn.init.zeros_(self.gains.bias)

    def projection(self) -> Tensor:
        """The projection matrix [dim, bins * frames] for weighed windows."""
        return self.components.weight

    def weighed(self, windows: Tensor, nodes: Tensor) -> Tensor:
        """Windows [B, F, W] multiplied by the gains, 0 to 2, that their nodes [B, N, C] give."""
        gains = 2 * self.gains(nodes).sigmoid().float()
        # [B, rows, columns, bins, frames] of patches
        gains = gains.unflatten(1, (self.rows, -1)).unflatten(3, (self.config.patch_bins, -1))
        return windows * gains.transpose(2, 3).flatten(3, 4).flatten(1, 2)

    def forward(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Windows [B, F, W] >= 0 -> (vectors [B, dim] L2-normalised float32, nodes [B, C, N]).

        A silent window gives the zero vector.
        """
        nodes = self.nodes(windows)
        # roots before gains, because the gradient of a root is infinite at 0
        weighed = unit_centred(self.weighed(windows.float().clamp(min=0).sqrt(), nodes))
        # not in bfloat16: its rounding of a sum over 2,000 values would cost more than the gains bring
        with torch.autocast(windows.device.type, enabled=False):
            vectors = F.linear(weighed, self.components.weight.float())
        return F.normalize(vectors, dim=1), nodes.transpose(1, 2)
