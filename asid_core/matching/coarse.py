"""Coarse search, exact: every probe of every query window against every reference window, streamed over references.

Neighbouring reference windows overlap by 96 %, so plain top-k would be k neighbours of one place. References are
taken in groups of `GROUP` rows (2.6 s at a hop of 160 ms); a query window keeps its best groups, each with its best
row and probe.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from asid_core.config import NO_FIRST_PASS, FirstPassConfig
from asid_core.matching.eight_bits import quantised, restored, step
from asid_core.precision import first_pass_type

GROUP = 16
# 2048 x 1024 scores are 8 MB of float32 and stay in a core's share of L3: 1.3 to 3 times as fast as larger tiles
_TILE_QUERIES, _TILE_SCORES = 2048, 2048 * 1024
# groups scored at once: 4 MB of rows, or what 8192 query vectors hold; what leaves the cache takes 3 times as long
_REFINE_GROUPS, _REFINE_QUERIES = 512, 8192
MIN_BACKGROUND_GROUPS, MAX_BACKGROUND_GROUPS, BACKGROUND_QUANTILE = 64, 512, 0.95  # of a block
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
    # (a held chord, a steady hi-hat) are near everything; against their own background, true ones stand out. Measured:
    # mAP 0.92 to 0.95, "samples nothing" told with AUC 0.90 to 0.97
    z_score: np.ndarray


class ExactSearch:
    """Best reference groups of each query window over a stream of reference blocks; memory is [windows, keep]."""

    def __init__(self, queries: Tensor, keep: int, first_pass: FirstPassConfig = NO_FIRST_PASS) -> None:
        """queries [P, n, dim], on the device that searches; `keep` groups a window."""
        self.probes, self.windows, self.dim = queries.shape
        self.keep = keep
        first_pass = first_pass if first_pass.stride else NO_FIRST_PASS
        self.stride = max(first_pass.stride, 1)
        self.first_pass_dims = min(first_pass.dims or self.dim, self.dim)
        self.device = queries.device
        self.type = first_pass_type(self.device) if first_pass.stride else torch.float32
        self.eight_bits = self.type == torch.int8
        self.step = step(self.dim)
        # of the first pass's scores, which are whole numbers in eight bits
        self._score_type = torch.int32 if self.eight_bits else self.type
        self._unit: float = self.step**2 if self.eight_bits else 1.0
        # windows outermost, so that a tile holds whole windows and its maximum over probes is local
        self._flat = queries.transpose(0, 1).reshape(-1, self.dim)
        apart = min(first_pass.probes, self.probes)
        chosen = queries[apart // 2 :: apart, :, : self.first_pass_dims]
        every = chosen.shape == queries.shape
        self.first_pass_probes, self.sees_all = len(chosen), self.stride == 1 and every
        self._whole = self._numbers(self._flat)
        self._first_pass_queries = self._whole if every else self._numbers(chosen.transpose(0, 1).flatten(0, 1))
        self._leading_share = self._share_by_chance(queries)
        self._cosine = torch.full((self.windows, keep), -1.0, device=self.device)
        self._row = torch.zeros((self.windows, keep), dtype=torch.int64, device=self.device)
        self._probe = torch.zeros((self.windows, keep), dtype=torch.int32, device=self.device)
        self._groups = torch.zeros(self.windows, device=self.device)
        self._sum = torch.zeros(self.windows, dtype=torch.float64, device=self.device)
        self._squares = torch.zeros(self.windows, dtype=torch.float64, device=self.device)

    def add(self, references: Tensor, first_row: int, windows: slice | None = None) -> None:
        """Search a block of rows [m, dim], which are rows first_row.. of the reference table, for some windows.

        The rows are unit vectors in float32, or in eight bits as `eight_bits.quantised` makes them.
        """
        if len(references) == 0:
            return
        references = references.to(self.device)
        first, last, _ = (windows or slice(None)).indices(self.windows)
        chosen = self._numbers(references[:: self.stride, : self.first_pass_dims])
        spread = None if self.sees_all else self._numbers(_spread(references))
        probes = self.first_pass_probes
        windows_per_tile = max(1, _TILE_QUERIES // probes)
        # one place for what tiles leave: memory that is new each time, 32 MB, takes as long as the product
        groups = -(-len(references) // GROUP)
        memory = references.new_empty(groups, min(windows_per_tile, last - first), dtype=self._score_type)
        for start in range(first, last, windows_per_tile):
            part = slice(start, min(start + windows_per_tile, last))
            queries = self._first_pass_queries[part.start * probes : part.stop * probes]
            best = self._best_in_groups(chosen, queries, probes, GROUP // self.stride, memory)
            pairs = self._promising(part, best)
            if spread is not None:
                queries = self._whole[part.start * self.probes : part.stop * self.probes]
                best = self._best_in_groups(spread, queries, self.probes, GROUP, memory)
            self._update_background(part, best)
            self._refine(part, references, pairs, first_row)

    def _share_by_chance(self, queries: Tensor) -> Tensor:
        """How much of a window's cosine, by chance, the leading dimensions of the first pass give: [n].

        The terms of a dot product of unrelated vectors add up like noise, so it is the root of the leading dimensions'
        share in the squared length. Without it the floor would reject true matches of a model whose later dimensions
        count.
        """
        if self.first_pass_dims == self.dim:
            return torch.ones(self.windows, device=queries.device)
        return queries[..., : self.first_pass_dims].square().sum(2).mean(0).sqrt()

    def _numbers(self, vectors: Tensor) -> Tensor:
        """Vectors [n, d] as they are multiplied: in eight bits, where they only choose and that is fast."""
        if vectors.dtype == torch.int8 and not self.eight_bits:
            vectors = vectors.float() * self.step
        if vectors.dtype == torch.int8 or not self.eight_bits:
            return vectors.to(self.type).contiguous()
        return quantised(vectors, self.step)

    def _best_in_groups(self, rows: Tensor, queries: Tensor, probes: int, group: int, memory: Tensor) -> Tensor:
        """Best score of each window (so many neighbours among `queries`) in each `group` rows: [groups, n].

        A score times `self._unit` is a cosine. It lies in `memory`, and is there until that is used again.
        """
        windows = len(queries) // probes
        best = memory.flatten()[: -(-len(rows) // group) * windows].view(-1, windows)
        tile_rows = min(_TILE_SCORES // len(queries) // group * group, len(rows))
        scores = best.new_empty(tile_rows, len(queries))
        product: Callable[..., Tensor] = torch._int_mm if self.eight_bits else torch.mm
        for r in range(0, len(rows), tile_rows):
            some = rows[r : r + tile_rows]
            # rows down, so that the maximum over a group compares whole rows of the tile: 14 times as fast
            tile = product(some, queries.T, out=scores[: len(some)])
            if ragged := -len(some) % group:
                tile = torch.nn.functional.pad(tile, (0, 0, 0, ragged), value=-1)
            tile = tile.unflatten(0, (-1, group))
            into = best[r // group : r // group + len(tile)]
            if probes == 1:
                torch.amax(tile, 1, out=into)
            else:
                torch.amax(tile.amax(1).unflatten(1, (-1, probes)), 2, out=into)
        return best

    def _update_background(self, part: slice, best: Tensor) -> None:
        counts = (best.amax(1) > 0).nonzero()[:, 0]  # a group of silence has the cosine 0
        some = best[counts[:: max(1, len(counts) // MAX_BACKGROUND_GROUPS)]].T.float() * self._unit
        heard = some > 0
        # what truly matches is not background: in a catalogue of a few minutes it would hide itself. The top is
        # levelled
        background = torch.where(heard, torch.minimum(some, _upper_quantile(some, heard.sum(1))[:, None]), 0.0)
        self._groups[part] += heard.sum(1)
        self._sum[part] += background.double().sum(1)
        self._squares[part] += background.double().square().sum(1)

    def _promising(self, part: slice, best: Tensor) -> Tensor:
        """Pairs (window of `part`, group) [p, 2] that look better than the window's worst kept hit, by window."""
        floor = self._cosine[part, -1].clamp(min=0) * self._leading_share[part] / self._unit
        # of whole numbers those above it are those above its whole part
        better = best > (floor.int() if self.eight_bits else floor)
        if better.count_nonzero() > self.keep * best.shape[1]:  # the first blocks, before there is what to keep
            better &= best >= best.topk(min(self.keep, len(best)), dim=0).values[-1]
        if self.device.type == "cpu":
            flat = torch.from_numpy(np.flatnonzero(better.numpy()))  # of few true ones: 5 times as fast as torch's
        else:
            flat = better.flatten().nonzero()[:, 0]
        group, window = flat // best.shape[1], flat % best.shape[1]
        order = window.argsort(stable=True)
        return torch.stack([window[order], group[order]], 1)

    def _refine(self, part: slice, references: Tensor, pairs: Tensor, first_row: int) -> None:
        """Score all rows and probes of the (window, group) `pairs`, and merge the best of each into what is kept."""
        if not len(pairs):
            return
        queries = self._flat.unflatten(0, (-1, self.probes))[part]
        rows = len(references)
        if ragged := -rows % GROUP:
            references = torch.nn.functional.pad(references, (0, 0, 0, ragged))
        groups = references.unflatten(0, (-1, GROUP))
        chunks = pairs.split(min(_REFINE_GROUPS, max(1, _REFINE_QUERIES // self.probes)))
        found = [_best_of(queries, groups, chunk, rows) for chunk in chunks]
        cosine, row, probe = (torch.cat(column) for column in zip(*found, strict=True))
        window, counts = pairs[:, 0].unique_consecutive(return_counts=True)
        column = torch.arange(len(pairs), device=self.device) - (counts.cumsum(0) - counts).repeat_interleave(counts)
        at = (torch.arange(len(window), device=self.device).repeat_interleave(counts), column + self.keep)
        window = window + part.start
        cosines = torch.full((len(window), self.keep + int(counts.max())), -1.0, device=self.device)
        cosines[:, : self.keep] = self._cosine[window]
        cosines[at] = cosine
        top = cosines.topk(self.keep, dim=1)
        self._cosine[window] = top.values
        for kept, new in ((self._row, row + first_row), (self._probe, probe)):
            both = torch.zeros_like(cosines, dtype=kept.dtype)
            both[:, : self.keep] = kept[window]
            both[at] = new.to(kept.dtype)
            kept[window] = both.gather(1, top.indices)

    def hits(self) -> Hits:
        """What was found, best first within a window; cosines of at most 0 (silence, nothing there) left out."""
        found = self._cosine > 0
        window = torch.arange(self.windows, dtype=torch.int32, device=self.device)[:, None].expand_as(found)
        mean, deviation = self.background_statistics()
        z_score = (self._cosine - mean[:, None]) / deviation[:, None]
        columns = (window, self._probe, self._row, self._cosine, z_score)
        return Hits(*(column[found].cpu().numpy() for column in columns))

    def background_statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [n] of a window's best cosine in a group, over all groups or many of them."""
        mean = self._sum / self._groups.clamp(min=1)
        deviation = (self._squares / self._groups.clamp(min=1) - mean**2).clamp(min=0).sqrt()
        return mean.float(), deviation.float().clamp(min=MIN_DEVIATION)


def _spread(references: Tensor) -> Tensor:
    """Some whole groups from all over a block, enough to tell the background: a share of them, at least
    MIN_BACKGROUND_GROUPS.
    """
    groups = references[: len(references) // GROUP * GROUP].unflatten(0, (-1, GROUP))
    counts = groups.ne(0).flatten(1).any(1).nonzero()[:, 0]  # rows that do not count tell nothing
    if not len(counts):
        return references
    step = max(1, len(counts) // max(MIN_BACKGROUND_GROUPS, len(counts) // 32))
    return groups[counts[step // 2 :: step]].flatten(0, 1)


def _upper_quantile(best: Tensor, heard: Tensor) -> Tensor:
    """The quantile BACKGROUND_QUANTILE of the `heard` [n] greatest of each row of `best` [n, groups]; 0 without any."""
    if not best.shape[1]:
        return best.new_zeros(len(best))
    place = (heard - 1).clamp(min=0) * (1 - BACKGROUND_QUANTILE)  # from the top
    top = best.topk(min(best.shape[1], int(best.shape[1] * (1 - BACKGROUND_QUANTILE)) + 2), dim=1).values
    above = place.long()[:, None]
    below = (above + 1).clamp(max=top.shape[1] - 1)
    return torch.lerp(top.gather(1, above)[:, 0], top.gather(1, below)[:, 0], place - place.floor())


def _best_of(queries: Tensor, groups: Tensor, pairs: Tensor, rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """(cosine, row, probe) [p] of the best of each of the (window, group) `pairs` [p, 2].

    queries [n, P, dim]; groups [m, GROUP, dim], of which the first so many `rows` are there.
    """
    # index_select copies whole groups; an index would take value after value
    window, group = pairs.T.contiguous()
    scores = torch.bmm(restored(groups.index_select(0, group)), queries.index_select(0, window).mT)  # [p, GROUP, P]
    at = group[:, None] * GROUP + torch.arange(GROUP, device=group.device)
    cosine, probe = scores.max(2)
    cosine, place = cosine.masked_fill(at >= rows, -1.0).max(1, keepdim=True)
    return cosine[:, 0], at.gather(1, place)[:, 0], probe.gather(1, place)[:, 0]
