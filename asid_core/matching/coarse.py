"""Coarse search, exact: every probe of every query window against every reference window, streamed over references.

Neighbouring reference windows overlap by 96 %, so plain top-k would be k neighbours of one place. References are
taken in groups of `GROUP` rows (2.6 s at a hop of 160 ms); a query window keeps its best groups, each with its best
row and probe.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from asid_core.precision import bfloat16_pays

GROUP = 16
# 2048 x 1024 scores are 8 MB of float32 and stay in a core's share of L3: 1.3 to 3 times as fast as larger tiles
_TILE_QUERIES, _TILE_ROWS = 2048, 1024
_REFINE_WINDOWS = 16
MIN_USUAL_GROUPS, USUAL_SHARE = 64, 0.95
# cosines spread by 0.05 to 0.1 over music; a catalogue of a few near-equal windows must not make a small gap look large
MIN_DEVIATION = 0.03


@dataclass(frozen=True)
class Hits:
    """Hits of one query track, as columns of equal length."""

    window: np.ndarray  # int32, among the query's windows
    probe: np.ndarray  # int32, among the probes
    row: np.ndarray  # int64, of the reference table
    cosine: np.ndarray  # float32
    # float32, standard deviations of the cosine above what this window finds in other places. Windows of plain music
    # (a held chord, a steady hi-hat) are near everything; against their own usual, true ones stand out. Measured:
    # mAP 0.92 to 0.95, "samples nothing" told with AUC 0.90 to 0.97
    strength: np.ndarray


class ExactSearch:
    """Best reference groups of each query window over a stream of reference blocks; memory is [windows, keep]."""

    def __init__(self, queries: Tensor, keep: int, look_dims: int = 0, look_stride: int = 1) -> None:
        """queries [P, n, dim]; `keep` groups a window.

        The first look chooses groups by the leading `look_dims` dimensions (of a projection ordered by variance; 0 for
        all) of every `look_stride`-th row; what it chooses is scored in full.
        """
        self.queries = queries
        self.probes, self.windows, self.dim = queries.shape
        self.keep = keep
        self.look = min(look_dims or self.dim, self.dim)
        self.stride = look_stride
        # windows outermost, so that a tile holds whole windows and its maximum over probes is local
        self._flat = queries.transpose(0, 1).reshape(-1, self.dim)
        self._cosine = torch.full((self.windows, keep), -1.0)
        self._row = torch.zeros((self.windows, keep), dtype=torch.int64)
        self._probe = torch.zeros((self.windows, keep), dtype=torch.int32)
        self._groups = torch.zeros(self.windows)
        self._sum = torch.zeros(self.windows, dtype=torch.float64)
        self._squares = torch.zeros(self.windows, dtype=torch.float64)

    def add(self, references: Tensor, first_row: int) -> None:
        """Search a block of rows [m, dim], which are rows first_row.. of the reference table."""
        if len(references) == 0:
            return
        best = self._best_in_groups(references, self.look, self.stride)
        if self.look < self.dim or self.stride > 1:
            self._note_usual(self._best_in_groups(_spread(references), self.dim, 1))
        else:
            self._note_usual(best)
        chosen = best.topk(min(self.keep, best.shape[1]), dim=1).indices
        for start in range(0, self.windows, _REFINE_WINDOWS):
            part = slice(start, start + _REFINE_WINDOWS)
            self._merge(part, *self._refine(part, references, chosen[part]), first_row)

    def _best_in_groups(self, references: Tensor, dims: int, stride: int) -> Tensor:
        """Best cosine of each window in each group of the block, by some dimensions of some rows: [n, groups]."""
        # a first look only chooses: bfloat16's 8 bits move a cosine of 0.5 by 0.001, and take half the time
        only_chooses = dims < self.dim or stride > 1
        dtype = torch.bfloat16 if only_chooses and bfloat16_pays(self._flat.device) else self._flat.dtype
        rows, group = references[::stride, :dims].to(dtype).contiguous(), GROUP // stride
        queries = self._flat[:, :dims].to(dtype).contiguous()
        groups = -(-len(rows) // group)
        best = torch.empty(self.windows, groups)
        windows_a_tile = max(1, _TILE_QUERIES // self.probes)
        for w in range(0, self.windows, windows_a_tile):
            query = queries[w * self.probes : (w + windows_a_tile) * self.probes]
            for r in range(0, len(rows), _TILE_ROWS):
                # rows down, so that the maximum over a group compares whole rows of the tile: 14 times as fast
                scores = rows[r : r + _TILE_ROWS] @ query.T
                if ragged := -len(scores) % group:
                    scores = torch.nn.functional.pad(scores, (0, 0, 0, ragged), value=-1.0)
                top = scores.unflatten(0, (-1, group)).amax(1).unflatten(1, (-1, self.probes)).amax(2)
                best[w : w + top.shape[1], r // group : r // group + len(top)] = top.T
        return best

    def _note_usual(self, best: Tensor) -> None:
        heard = best > 0  # a group of silence has the cosine 0
        # what truly matches is not usual: in a catalogue of a few minutes it would hide itself. The top is levelled
        level = best.masked_fill(~heard, torch.nan).nanquantile(USUAL_SHARE, dim=1, keepdim=True)
        usual = torch.where(heard, torch.minimum(best, level), 0.0)
        self._groups += heard.sum(1)
        self._sum += usual.double().sum(1)
        self._squares += usual.double().square().sum(1)

    def _refine(self, part: slice, references: Tensor, groups: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Exact (cosine, row, probe) of the best pair in each of `groups` [w, g] for the windows of `part`."""
        rows = groups[:, :, None] * GROUP + torch.arange(GROUP)
        outside = rows >= len(references)
        rows = rows.clamp(max=len(references) - 1)
        picked = references[rows.flatten(1)]  # [w, g * GROUP, dim]
        scores = torch.bmm(picked, self.queries[:, part].permute(1, 2, 0))  # [w, g * GROUP, P]
        cosine, probe = scores.max(2)
        cosine = cosine.unflatten(1, groups.shape[1:] + (GROUP,)).masked_fill(outside, -1.0)
        cosine, at = cosine.max(2)
        probe = probe.unflatten(1, groups.shape[1:] + (GROUP,)).gather(2, at[:, :, None])[:, :, 0]
        return cosine, rows.gather(2, at[:, :, None])[:, :, 0], probe.int()

    def _merge(self, part: slice, cosine: Tensor, row: Tensor, probe: Tensor, first_row: int) -> None:
        cosines = torch.cat([self._cosine[part], cosine], 1)
        top = cosines.topk(self.keep, dim=1)
        self._cosine[part] = top.values
        self._row[part] = torch.cat([self._row[part], row + first_row], 1).gather(1, top.indices)
        self._probe[part] = torch.cat([self._probe[part], probe], 1).gather(1, top.indices)

    def hits(self) -> Hits:
        """What was found, best first within a window; cosines of at most 0 (silence, nothing there) left out."""
        found = self._cosine > 0
        window = torch.arange(self.windows, dtype=torch.int32)[:, None].expand_as(found)
        mean, deviation = self.usual()
        strength = (self._cosine - mean[:, None]) / deviation[:, None]
        columns = (window, self._probe, self._row, self._cosine, strength)
        return Hits(*(column[found].numpy() for column in columns))

    def usual(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [n] of a window's best cosine in a group, over all groups or many of them."""
        mean = self._sum / self._groups.clamp(min=1)
        deviation = (self._squares / self._groups.clamp(min=1) - mean**2).clamp(min=0).sqrt()
        return mean.float(), deviation.float().clamp(min=MIN_DEVIATION)


def _spread(references: Tensor) -> Tensor:
    """Some whole groups from all over a block, enough to tell the usual: a share of them, at least MIN_USUAL_GROUPS."""
    groups = references[: len(references) // GROUP * GROUP].unflatten(0, (-1, GROUP))
    groups = groups[(groups != 0).any(2).any(1)]  # rows that do not count tell nothing
    if not len(groups):
        return references
    step = max(1, len(groups) // max(MIN_USUAL_GROUPS, len(groups) // 32))
    return groups[step // 2 :: step].flatten(0, 1)
