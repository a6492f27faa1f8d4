"""How similar a query window is to what it does not sample: the mean and deviation of its cosines with all places.

A window of plain music (a held chord, a steady hi-hat) is similar to everything. Only true matches exceed its
background.
"""

from __future__ import annotations

import torch
from torch import Tensor

GROUPS, MAX_GROUPS, QUANTILE = 64, 512, 0.95  # of a block; in a sample, at most
# Of all blocks together; of one of many, at least. 1,000 groups in place of 4,000 change z-scores of 8 by 0.1.
ENOUGH_GROUPS, LEAST_GROUPS = 1024, 16
# Cosines of music deviate by 0.05 to 0.1. With a few nearly equal windows, a small difference must not look large.
MIN_DEVIATION = 0.03


class Background:
    """Sums over the best cosines of query windows in groups of rows, of a stream of blocks."""

    def __init__(self, windows: int, device: torch.device) -> None:
        self._groups = torch.zeros(windows, device=device)
        self._sum = torch.zeros(windows, dtype=torch.float64, device=device)
        self._squares = torch.zeros(windows, dtype=torch.float64, device=device)

    def add(self, windows: slice, best: Tensor, unit: float) -> None:
        """best: score [groups, n] of each of the `windows` in each group of a block; times `unit`, it is a cosine."""
        if not len(best):
            return
        counts = (best.amax(1) > 0).nonzero()[:, 0]  # a group of silence has the cosine 0
        some = best[counts[:: max(1, len(counts) // MAX_GROUPS)]].T.float() * unit
        heard = some > 0
        # Clip the top: true matches are not background, and in a small catalogue they would hide themselves.
        cosines = torch.where(heard, torch.minimum(some, upper_quantile(some, heard.sum(1))[:, None]), 0.0)
        self._groups[windows] += heard.sum(1)
        self._sum[windows] += cosines.double().sum(1)
        self._squares[windows] += cosines.double().square().sum(1)

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [n] of a window's best cosine in a group, over all groups or a sample of them."""
        mean = self._sum / self._groups.clamp(min=1)
        deviation = (self._squares / self._groups.clamp(min=1) - mean**2).clamp(min=0).sqrt()
        return mean.float(), deviation.float().clamp(min=MIN_DEVIATION)


def groups_of_each(blocks: int) -> int:
    """How many groups of each of so many blocks tell what is usual."""
    return max(LEAST_GROUPS, min(GROUPS, ENOUGH_GROUPS // max(blocks, 1)))


def spread(rows: Tensor, group: int, groups: int) -> Tensor:
    """`groups` to twice as many evenly spaced groups of `group` rows of a block [m, dim]; none of zeros alone."""
    split = rows[: len(rows) // group * group].unflatten(0, (-1, group))
    counts = split.ne(0).flatten(1).any(1).nonzero()[:, 0]  # excluded rows are zero
    if not len(counts):
        return rows
    step = max(1, len(counts) // groups)
    return split[counts[step // 2 :: step]].flatten(0, 1)


def upper_quantile(best: Tensor, heard: Tensor) -> Tensor:
    """QUANTILE of the `heard` [n] largest values in each row of `best` [n, groups]; 0 if there are none."""
    if not best.shape[1]:
        return best.new_zeros(len(best))
    place = (heard - 1).clamp(min=0) * (1 - QUANTILE)  # from the top
    top = best.topk(min(best.shape[1], int(best.shape[1] * (1 - QUANTILE)) + 2), dim=1).values
    above = place.long()[:, None]
    below = (above + 1).clamp(max=top.shape[1] - 1)
    return torch.lerp(top.gather(1, above)[:, 0], top.gather(1, below)[:, 0], place - place.floor())
