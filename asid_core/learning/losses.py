"""The contrastive loss of the encoder."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


def nt_xent(
    z_i: Tensor, z_j: Tensor, tau: float = 0.05, gather: Callable[[Tensor], Tensor] | None = None, rank: int = 0
) -> Tensor:
    """Normalised-temperature cross-entropy over a batch of positive pairs (SimCLR; arXiv:2506.14684 section 3.3).

    z_i, z_j: [B, dim], any length (normalised here); row b of one is the positive of row b of the other, every other
    row of both a negative. Returns the mean over this process's 2B rows, a scalar in nats.

    For a batch spread over workers, `gather` maps [B, dim] to [workers * B, dim] in rank order, keeping gradients, and
    `rank` says which rows are this worker's. Each worker's loss is then over its own rows against everybody's.
    """
    z_i, z_j = F.normalize(z_i.float(), dim=1), F.normalize(z_j.float(), dim=1)
    all_i, all_j = (z_i, z_j) if gather is None else (gather(z_i), gather(z_j))
    batch, total = z_i.shape[0], all_i.shape[0]
    similarities = torch.cat([z_i, z_j]) @ torch.cat([all_i, all_j]).T / tau
    own = rank * batch + torch.arange(batch, device=z_i.device)
    rows = torch.cat([own, own + total])
    similarities[torch.arange(2 * batch, device=rows.device), rows] = -torch.inf  # a row is no negative of itself
    return F.cross_entropy(similarities, (rows + total) % (2 * total))
