"""Votes before decisions: which tracks of a very large catalogue are worth an exact search.

No single window decides. Every hit that stands out of its window's background counts, and those of one track that agree
on pitch and offset add up, one for each 2 s of the query, so that a held note does not vote with every window.

`benchmarks/votes.py` measures this beside the exact search.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from asid_core.matching.background import Background
from asid_core.matching.coarse import GROUP, Hits
from asid_core.matching.eight_bits import quantised, step
from asid_core.matching.inverted_lists import Found, InvertedLists

MIN_Z_SCORE = 3.0  # of a hit that votes
LEADING_Z_SCORE = 2.5  # of its leading dimensions alone
VOTE_S = 2.0  # of the query, in which only the best hit counts
# A line is followed over a stretch, in which an error of the tempo moves its offset by less than a bin.
STRETCH_S, OFFSET_S = 16.0, 2.0
WINDOWS_AT_ONCE = 256  # of which backgrounds are computed


@dataclass(frozen=True)
class ListSearch:
    """Finds the hits of query windows in inverted lists."""

    lists: InvertedLists
    cohort: Tensor  # int8 [m, dim], GROUP neighbouring rows after one another: what is usual

    def hits(self, queries: Tensor, probed: int, before: Tensor | None = None) -> Hits:
        """Every hit of a z-score of at least MIN_Z_SCORE in the `probed` lists nearest to each vector.

        queries: vectors [P, n, dim]. before: int64 [n], the first row that each window is not compared with. A hit's
        leading dimensions alone must have a z-score of LEADING_Z_SCORE. Sorted by window, probe and row.
        """
        probes, windows, dim = queries.shape
        unit, codes = step(dim), quantised(queries.flatten(0, 1), step(dim))  # probes outermost
        leading, whole = self._backgrounds(codes.unflatten(0, (probes, windows)), unit)
        floors = ((leading[0] + LEADING_Z_SCORE * leading[1]) / unit**2).ceil().int() - 1
        least = (whole[0] + MIN_Z_SCORE * whole[1]) / unit**2
        found = self.lists.search(
            codes, floors.repeat(probes), probed, None if before is None else before.repeat(probes)
        )
        vector, row, score = together(_above(part, least) for part in found)
        window, probe, cosine = vector % windows, vector // windows, score * unit**2
        z_score = (cosine - whole[0][window]) / whole[1][window]
        order = torch.from_numpy(np.lexsort((row.numpy(), probe.numpy(), window.numpy())))
        columns = (window[order].int(), probe[order].int(), row[order], cosine[order].float(), z_score[order].float())
        return Hits(*(column.numpy() for column in columns))

    def work(self, queries: Tensor, probed: int) -> int:
        """Multiply-adds of `hits`, but for scoring in full what the leading dimensions select."""
        codes = quantised(queries.flatten(0, 1), step(queries.shape[2]))
        return self.lists.work(codes, probed) + len(codes) * self.cohort.numel()

    def _backgrounds(self, codes: Tensor, unit: float) -> list[tuple[Tensor, Tensor]]:
        """Mean and deviation [n] of each window's best cosine in a group of the cohort: leading dimensions, all.

        codes: [P, n, dim].
        """
        windows, leading = codes.shape[1], self.lists.centres.shape[1]
        halves = [(self.cohort[:, part].contiguous(), part) for part in (slice(leading), slice(leading, None))]
        backgrounds = [Background(windows, codes.device) for _ in range(2)]
        for start in range(0, windows, WINDOWS_AT_ONCE):
            best: list[list[Tensor]] = [[], []]
            for some in codes[:, start : start + WINDOWS_AT_ONCE]:
                first, rest = (torch._int_mm(rows, some[:, part].contiguous().T) for rows, part in halves)
                for one, scores in zip(best, (first, first + rest), strict=True):
                    one.append(scores.unflatten(0, (-1, GROUP)).amax(1))
            for background, one in zip(backgrounds, best, strict=True):
                background.add(slice(start, start + len(one[0].T)), torch.stack(one).amax(0), unit**2)
        return [background.statistics() for background in backgrounds]


def _above(found: Found, least: Tensor) -> Found:
    """The pairs whose score is at least `least` [n], by window."""
    kept = (found.score >= least[found.vector % len(least)]).nonzero()[:, 0]
    return Found(found.vector[kept], found.row[kept], found.score[kept])


def together(found: Iterable[Found]) -> tuple[Tensor, Tensor, Tensor]:
    """The columns (vector, row, score) of all parts."""
    parts = list(found)
    if not parts:
        none = torch.zeros(0, dtype=torch.int64)
        return none, none, none
    vector, row, score = (torch.cat([getattr(part, name) for part in parts]) for name in ("vector", "row", "score"))
    return vector, row, score


def best_tracks(
    hits: Hits,
    query_centres_s: np.ndarray,
    probes: Sequence[tuple[float, float]],
    row_track: np.ndarray,
    row_centre_s: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The tracks that get votes, best first, and their votes: (int64 [t], float64 [t]).

    query_centres_s [n]: by query window. probes: (semitones, tempo_ratio) by probe. row_track, row_centre_s: by row.
    """
    pitches, ratios = np.array(probes, dtype=np.float64).T
    query_s, reference_s = query_centres_s[hits.window], row_centre_s[hits.row]
    track, pitch = row_track[hits.row], np.unique(pitches, return_inverse=True)[1][hits.probe]
    cell = (query_s / VOTE_S).astype(np.int64)
    strength = hits.z_score.astype(np.float64) ** 2
    parts = []
    for middle_s, inside in stretches(query_s):
        # where in the reference the line is in the middle of the stretch, in bins that overlap by half
        offset = reference_s + ratios[hits.probe] * (middle_s - query_s)
        for shift in (0.0, 0.5):
            place = np.floor(offset / OFFSET_S + shift).astype(np.int64)
            parts.append(added(np.stack([track, pitch, place], 1)[inside], cell[inside], strength[inside]))
    if not parts:
        return np.zeros(0, np.int64), np.zeros(0)
    return _best_of(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def stretches(query_s: np.ndarray) -> list[tuple[float, np.ndarray]]:
    """(middle in seconds, which of the times [h] are inside) of stretches that overlap by half and cover all times."""
    if not len(query_s):
        return []
    half_s = STRETCH_S / 2
    starts = np.arange(np.floor(query_s.min() / half_s) - 1, np.floor(query_s.max() / half_s) + 1) * half_s
    inside = [(query_s >= start) & (query_s < start + STRETCH_S) for start in starts]
    return [(start + half_s, some) for start, some in zip(starts.tolist(), inside, strict=True) if some.any()]


def added(lines: np.ndarray, cell: np.ndarray, strength: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each track, ascending, and the votes of its best line (track, pitch, place): the sum of the best in each cell.

    lines: int64 [h, 3], of at least one hit. cell: int64 [h]. strength: float64 [h].
    """
    columns = np.column_stack([lines, cell])
    lowest = columns.min(0)
    sizes = columns.max(0) - lowest + 1
    # one number is sorted several times as fast as four columns
    keys = np.ravel_multi_index(tuple((columns - lowest).T), tuple(sizes))
    order = keys.argsort()
    keys, strength = keys[order], strength[order]
    cells = _changes(keys)
    line = keys[cells] // sizes[3]
    starts = _changes(line)
    votes = np.add.reduceat(np.maximum.reduceat(strength, cells), starts)
    track = line[starts] // (sizes[1] * sizes[2])
    first = _changes(track)
    return track[first] + lowest[0], np.maximum.reduceat(votes, first)


def _changes(values: np.ndarray) -> np.ndarray:
    """Where values [n] differ from the one before, and 0."""
    return np.flatnonzero(np.append(True, values[1:] != values[:-1]))


def _best_of(tracks: np.ndarray, votes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each track once with its best votes, most first; the lower number first in a tie."""
    order = np.lexsort((tracks, -votes))
    _, first = np.unique(tracks[order], return_index=True)
    chosen = order[np.sort(first)]
    return tracks[chosen].astype(np.int64), votes[chosen]
