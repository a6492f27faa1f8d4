"""What many workers need to compute what one would: everybody's vectors, and batch norms over everybody's rows.

Plain torch.distributed, gloo on CPUs and NCCL on GPUs alike (torch's own SyncBatchNorm knows only GPUs).
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn


def gathered(rows: Tensor) -> Tensor:
    """[B, dim] of every worker in rank order, [workers * B, dim], with gradients; B the same everywhere."""
    import torch.distributed.nn.functional as with_gradients

    return torch.cat(with_gradients.all_gather(rows.contiguous()))


def mean_over_workers(value: Tensor) -> Tensor:
    """A scalar's mean over workers, without gradient; the value itself where there is one worker."""
    value = value.detach().clone()
    if dist.is_initialized() and dist.get_world_size() > 1:
        dist.all_reduce(value)
        value /= dist.get_world_size()
    return value


class SyncedBatchNorm1d(nn.BatchNorm1d):
    """Batch norm with the statistics of all workers' rows in training; [M, C] or [M, C, N], M alike everywhere."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        axes = [0] if x.dim() == 2 else [0, 2]
        wide = x if x.dtype == torch.float64 else x.float()
        workers = dist.get_world_size() if dist.is_initialized() else 1
        # sums in float64, so that they do not depend on who adds what: an activation that a last digit takes over a
        # ReLU's kink changes the gradient by 1e-3 of its norm
        mean = _summed(wide.mean(axes, dtype=torch.float64), workers) / workers
        # in two rounds, because E[x^2] - E[x]^2 loses its digits where the mean is large
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
    """Added up over workers, with gradients."""
    import torch.distributed.nn.functional as with_gradients

    summed: Tensor = with_gradients.all_reduce(values) if workers > 1 else values
    return summed


def _channels(values: Tensor, like: Tensor) -> Tensor:
    """[C] so that it broadcasts over [M, C] or [M, C, N]."""
    return values if like.dim() == 2 else values[:, None]


def synchronise(module: nn.Module) -> nn.Module:
    """Turn every batch norm of `module` into one over all workers, in place; the state stays what it was."""
    for child in module.modules():
        if type(child) is nn.BatchNorm1d:
            child.__class__ = SyncedBatchNorm1d
    return module
