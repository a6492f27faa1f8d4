"""Exact coarse search: compares every probe of every query window with every reference window, in blocks.

Neighbouring reference windows overlap by 96 %, so the top k rows would all be neighbours at one place. References are
therefore grouped by `GROUP` rows (2.6 s at a hop of 160 ms). A query window keeps its best groups, each with its best
row and probe.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from asid_core.config import NO_FIRST_PASS, FirstPassConfig
from asid_core.matching.background import Background, groups_of_each, spread
from asid_core.matching.eight_bits import quantised, restored, step
from asid_core.precision import first_pass_type

GROUP = 16
# 2048 x 1024 scores are 8 MB of float32 and fit in one core's share of the L3 cache
_TILE_QUERIES, _TILE_SCORES = 2048, 2048 * 1024
_GPU_TILE_QUERIES = 1 << 18  # a GPU's kernel keeps no scores, only the best of each group
# groups scored at once: 4 MB of rows, or 8192 query vectors, which fit in the cache
_REFINE_GROUPS, _REFINE_QUERIES = 512, 8192
_GPU_REFINE_DIMS = 512  # of vectors that the kernel of eight bits takes; longer ones are scored in floats
_GPU_REFINE_QUERIES = 1 << 20  # 1 GB at 256 dimensions: a GPU needs few large products
_FINALISTS = 4  # rows of a group whose exact cosines are computed


@dataclass(frozen=True)
class Hits:
    """Hits of one query track, as columns of equal length."""

    window: np.ndarray  # int32, among the query's windows
    probe: np.ndarray  # int32, among the probes
    row: np.ndarray  # int64, of the reference table
    cosine: np.ndarray  # float32
    z_score: np.ndarray  # float32, cosine in standard deviations above the mean of the window's background


@dataclass(frozen=True)
class _Block:
    """Rows of the reference table, ready to search."""

    references: Tensor  # [m, dim], the rows to search
    codes: Tensor  # [m, dim], the same in the numbers of the first pass
    chosen: Tensor  # what the first pass compares
    background: Tensor  # rows of the block, searched or not, that tell what is usual; besides `chosen` if that is all


class ExactSearch:
    """Finds the best reference groups of each query window in a stream of blocks. Memory is O(windows * keep)."""

    def __init__(
        self, queries: Tensor, keep: int, first_pass: FirstPassConfig = NO_FIRST_PASS, blocks: int = 1
    ) -> None:
        """queries: vectors [P, n, dim] in float32 or float16, on the device to search with. keep: groups per window.

        blocks: about how many blocks will be searched; of many, a part of each tells what is usual.
        """
        self.probes, self.windows, self.dim = queries.shape
        self.keep = keep
        self._usual_groups = groups_of_each(blocks)
        first_pass = first_pass if first_pass.stride else NO_FIRST_PASS
        self.stride = max(first_pass.stride, 1)
        self.first_pass_dims = min(first_pass.dims or self.dim, self.dim)
        self.device = queries.device
        self.type = first_pass_type(self.device) if first_pass.stride else torch.float32
        self.eight_bits = self.type == torch.int8
        self._fused = self.eight_bits and self.device.type == "cuda"
        self.step = step(self.dim)
        # type and unit of the first pass's scores, which are integers if the vectors are
        self._score_type = torch.int32 if self.eight_bits else self.type
        self._unit: float = self.step**2 if self.eight_bits else 1.0
        # windows outermost, so that each tile has all probes of its windows
        self._flat = queries.transpose(0, 1).reshape(-1, self.dim)
        chosen = queries[first_pass.compared(self.probes), :, : self.first_pass_dims]
        every = chosen.shape == queries.shape
        self.first_pass_probes, self.sees_all = len(chosen), self.stride == 1 and every
        self._whole = self._numbers(self._flat)
        self._first_pass_queries = self._whole if every else self._numbers(chosen.transpose(0, 1).flatten(0, 1))
        self._leading_share = self._share_by_chance(queries)
        self._cosine = torch.full((self.windows, keep), -1.0, device=self.device)
        self._row = torch.zeros((self.windows, keep), dtype=torch.int64, device=self.device)
        self._probe = torch.zeros((self.windows, keep), dtype=torch.int32, device=self.device)
        self.background = Background(self.windows, self.device)

    def add(
        self,
        references: Tensor,
        first_row: int,
        windows: slice | None = None,
        searched: int | None = None,
        background: Tensor | None = None,
    ) -> None:
        """Search a block [m, dim], rows first_row to first_row + m of the reference table, for some query windows.

        The rows are unit vectors, in float32 or quantised by `eight_bits.quantised`. searched: number of rows to
        search, from the first on (default: all). The others only count as background. background: rows that tell what
        is usual, if the block's do not.
        """
        if len(references) == 0:
            return
        block = self._block(references.to(self.device), len(references) if searched is None else searched, background)
        first, last, _ = (windows or slice(None)).indices(self.windows)
        probes = self.first_pass_probes
        windows_per_tile = max(1, (_GPU_TILE_QUERIES if self._fused else _TILE_QUERIES) // probes)
        # reused by all tiles: allocating 32 MB for each would take as long as the product
        groups = -(-max(len(references), 0 if background is None else len(background)) // GROUP)
        memory = block.references.new_empty(groups, min(windows_per_tile, last - first), dtype=self._score_type)
        for start in range(first, last, windows_per_tile):
            part = slice(start, min(start + windows_per_tile, last))
            queries = self._first_pass_queries[part.start * probes : part.stop * probes]
            best = self._best_in_groups(block.chosen, queries, probes, GROUP // self.stride, memory)
            pairs = self._promising(part, best)
            if self.sees_all and background is None:
                self.background.add(part, best, self._unit)
            queries = self._whole[part.start * self.probes : part.stop * self.probes]
            best = self._best_in_groups(block.background, queries, self.probes, GROUP, memory)
            self.background.add(part, best, self._unit)
            self._refine(part, block, pairs, first_row)

    def _block(self, references: Tensor, searched: int, background: Tensor | None) -> _Block:
        codes = self._numbers(references)
        chosen = codes[: searched : self.stride, : self.first_pass_dims].contiguous()
        if background is not None:
            usual = self._numbers(background.to(self.device))
        else:
            usual = codes[searched:] if self.sees_all else spread(codes, GROUP, self._usual_groups)
        return _Block(references[:searched], codes[:searched], chosen, usual)

    def _share_by_chance(self, queries: Tensor) -> Tensor:
        """The share [n] of a window's chance cosine that the first pass sees in its leading dimensions.

        The terms of a dot product of unrelated vectors add up like noise, so this is the square root of the leading
        dimensions' share in the squared norm. The floor is scaled by it, so as not to reject true matches of a model
        with much energy in the later dimensions.
        """
        if self.first_pass_dims == self.dim:
            return torch.ones(self.windows, device=queries.device)
        return queries[..., : self.first_pass_dims].float().square().sum(2).mean(0).sqrt()

    def _numbers(self, vectors: Tensor) -> Tensor:
        """Vectors [n, d] in the type of the first pass: eight bits if the device multiplies those fast."""
        if vectors.dtype == torch.int8 and not self.eight_bits:
            vectors = vectors.float() * self.step
        if vectors.dtype == torch.int8 or not self.eight_bits:
            return vectors.to(self.type).contiguous()
        return quantised(vectors, self.step)

    def _best_in_groups(self, rows: Tensor, queries: Tensor, probes: int, group: int, memory: Tensor) -> Tensor:
        """Best score of each window in each group of `group` rows: [groups, n].

        queries: `probes` consecutive rows per window. A score times `self._unit` is a cosine. The result is a view of
        `memory`, valid until the next call with it.
        """
        windows = len(queries) // probes
        best = memory.flatten()[: -(-len(rows) // group) * windows].view(-1, windows)
        if not len(rows):
            return best
        if self._fused:
            from asid_core.matching.fused import best_in_groups

            best_in_groups(rows, queries, probes, group, best)
            return best
        tile_rows = min(_TILE_SCORES // len(queries) // group * group, len(rows))
        scores = best.new_empty(tile_rows, len(queries))
        product: Callable[..., Tensor] = torch._int_mm if self.eight_bits else torch.mm
        for r in range(0, len(rows), tile_rows):
            some = rows[r : r + tile_rows]
            # references along the rows, so that the maximum over a group compares whole rows, which is much faster
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

    def _promising(self, part: slice, best: Tensor) -> Tensor:
        """Pairs (window of `part`, group) [p, 2] with a score above the window's worst kept hit, sorted by window."""
        floor = self._cosine[part, -1].clamp(min=0) * self._leading_share[part] / self._unit
        # an integer exceeds the floor exactly if it exceeds its integer part
        better = best > (floor.int() if self.eight_bits else floor)
        if better.count_nonzero() > self.keep * best.shape[1]:  # in the first blocks, when few hits are kept yet
            better &= best >= best.topk(min(self.keep, len(best)), dim=0).values[-1]
        if self.device.type != "cpu":
            return better.T.nonzero()
        flat = torch.from_numpy(np.flatnonzero(better.numpy()))  # much faster than torch if few are true
        group, window = flat // best.shape[1], flat % best.shape[1]
        order = window.argsort(stable=True)
        return torch.stack([window[order], group[order]], 1)

    def _refine(self, part: slice, block: _Block, pairs: Tensor, first_row: int) -> None:
        """Score all rows and probes of the (window, group) `pairs` [p, 2], and merge the best of each into the hits."""
        if not len(pairs):
            return
        if self.eight_bits and (self.device.type == "cpu" or self.dim <= _GPU_REFINE_DIMS):
            cosine, row, probe = self._best_in_eight_bits(part, block, pairs)
        else:
            cosine, row, probe = self._best_in_floats(part, block.references, pairs)
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

    def _best_in_floats(self, part: slice, references: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(cosine, row, probe), each [p], of the best row and probe of each (window of `part`, group) of `pairs`."""
        queries = self._flat.unflatten(0, (-1, self.probes))[part]
        rows = len(references)
        if ragged := -rows % GROUP:
            references = torch.nn.functional.pad(references, (0, 0, 0, ragged))
        groups = references.unflatten(0, (-1, GROUP))
        most = min(_REFINE_GROUPS, max(1, _REFINE_QUERIES // self.probes))
        chunks = pairs.split(most if self.device.type == "cpu" else max(1, _GPU_REFINE_QUERIES // self.probes))
        best = [_best_of(queries, groups, chunk, rows) for chunk in chunks]
        cosine, row, probe = (torch.cat(column) for column in zip(*best, strict=True))
        return cosine, row, probe

    def _best_in_eight_bits(self, part: slice, block: _Block, pairs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `_best_in_floats`, but the codes choose the probe of each row, and the _FINALISTS among the rows."""
        # the last row stands in for those that the last group may lack
        inside = torch.arange(GROUP, device=self.device)
        rows = (pairs[:, 1:] * GROUP + inside).clamp(max=len(block.references) - 1)
        scores, probes = self._best_by_codes(part, block.codes, pairs, rows)
        places = scores.topk(_FINALISTS, 1).indices
        rows, probes = rows.gather(1, places), probes.gather(1, places)
        queries = self._flat[(pairs[:, :1] + part.start) * self.probes + probes]
        cosine, best = (restored(block.references[rows]) * queries.float()).sum(2).max(1, keepdim=True)
        return cosine[:, 0], rows.gather(1, best)[:, 0], probes.gather(1, best)[:, 0]

    def _best_by_codes(self, part: slice, codes: Tensor, pairs: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """(score, probe), each [p, GROUP], of each of the `rows` [p, GROUP] of `pairs`.

        All groups of a window are one product, so that its vectors need not be copied for each group.
        """
        if self._fused:
            from asid_core.matching.fused_groups import best_in_candidates

            queries = self._whole[part.start * self.probes : part.stop * self.probes]
            return best_in_candidates(codes, queries, self.probes, GROUP, pairs)
        windows, counts = pairs[:, 0].unique_consecutive(return_counts=True)
        scores = torch.empty(len(pairs), GROUP, dtype=torch.int32)
        probes = torch.empty(len(pairs), GROUP, dtype=torch.int64)
        stop = 0
        for window, count in zip((windows + part.start).tolist(), counts.tolist(), strict=True):
            start, stop = stop, stop + count
            some = codes.index_select(0, rows[start:stop].flatten())
            products = torch._int_mm(some, self._whole[window * self.probes : (window + 1) * self.probes].T)
            torch.max(products, 1, out=(scores[start:stop].view(-1), probes[start:stop].view(-1)))
        return scores, probes

    def hits(self) -> Hits:
        """The hits, best first within a window, without those of a cosine of 0 or less (silence, unused entries)."""
        positive = self._cosine > 0
        window = torch.arange(self.windows, dtype=torch.int32, device=self.device)[:, None].expand_as(positive)
        mean, deviation = self.background.statistics()
        z_score = (self._cosine - mean[:, None]) / deviation[:, None]
        columns = (window, self._probe, self._row, self._cosine, z_score)
        return Hits(*(column[positive].cpu().numpy() for column in columns))


def _best_of(queries: Tensor, groups: Tensor, pairs: Tensor, rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """(cosine, row, probe), each [p], of the best row and probe of each (window, group) of `pairs` [p, 2].

    queries: [n, P, dim]. groups: [m, GROUP, dim], of which only the first `rows` rows are valid, the rest is padding.
    """
    # index_select copies whole groups, which is faster than indexing
    window, group = pairs.T.contiguous()
    scores = torch.bmm(restored(groups.index_select(0, group)), queries.index_select(0, window).float().mT)
    at = group[:, None] * GROUP + torch.arange(GROUP, device=group.device)
    cosine, probe = scores.max(2)
    cosine, place = cosine.masked_fill(at >= rows, -1.0).max(1, keepdim=True)
    return cosine[:, 0], at.gather(1, place)[:, 0], probe.gather(1, place)[:, 0]
