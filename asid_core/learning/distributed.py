"""Lets several workers compute what one would: gathers vectors, and synchronises batch norms.

Uses torch.distributed, so it works on CPUs (gloo) and GPUs (NCCL). torch's own SyncBatchNorm needs GPUs.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn


def gathered(rows: Tensor) -> Tensor:
    """Concatenate the rows [B, dim] of all workers in rank order: [workers * B, dim], with gradients.

    B must be the same on all workers.
    """
    import torch.distributed.nn.functional as with_gradients

    return torch.cat(with_gradients.all_gather(rows.contiguous()))


def mean_over_workers(value: Tensor) -> Tensor:
    """Mean of a scalar over all workers, without gradient."""
    value = value.detach().clone()
    if dist.is_initialized() and dist.get_world_size() > 1:
        dist.all_reduce(value)
        value /= dist.get_world_size()
    return value


class SyncedBatchNorm1d(nn.BatchNorm1d):
    """Batch norm whose training statistics cover the rows of all workers.

    Input [M, C] or [M, C, N], with the same M on all workers.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        axes = [0] if x.dim() == 2 else [0, 2]
        wide = x if x.dtype == torch.float64 else x.float()
        workers = dist.get_world_size() if dist.is_initialized() else 1
        # float64, so that the sums do not depend on how rows are split over workers: a difference in the last digit may
        # switch a ReLU, which changes the gradient
        mean = _summed(wide.mean(axes, dtype=torch.float64), workers) / workers
        # two passes, because E[x^2] - E[x]^2 loses precision if the mean is large
        centred = wide - _channels(mean.to(wide.dtype), x)
        variance = _summed(centred.square().mean(axes, dtype=torch.float64), workers) / workers
        self._update(mean.detach(), variance.detach(), x.numel() // x.shape[1] * workers)
        scale = (self.weight * (variance + self.eps).rsqrt()).to(wide.dtype)
        return (centred * _channels(scale, x) + _channels(self.bias, x)).to(x.dtype)

    def _update(self, mean: Tensor, variance: Tensor, rows: int) -> None:
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        self.running_var.lerp_((variance * rows / max(rows - 1, 1)).to(self.running_var.dtype), self.momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked += 1


def _summed(values: Tensor, workers: int) -> Tensor:
    """Sum over workers, with gradients."""
    import torch.distributed.nn.functional as with_gradients

    summed: Tensor = with_gradients.all_reduce(values) if workers > 1 else values
    return summed


def _channels(values: Tensor, like: Tensor) -> Tensor:
    """Reshape [C] so that it broadcasts over `like`, [M, C] or [M, C, N]."""
    return values if like.dim() == 2 else values[:, None]


def synchronise(module: nn.Module) -> nn.Module:
    """Make every batch norm of `module` span all workers, in place. Its state is unchanged."""
    for child in module.modules():
        if type(child) is nn.BatchNorm1d:
            child.__class__ = SyncedBatchNorm1d
    return module
