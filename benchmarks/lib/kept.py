"""How much of what the exact search finds is kept by another search, now and, by tails of scores, among many tracks."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.lib.distractors import fit_tails

WANTED = 0.95  # share of what the exact search finds


@dataclass(frozen=True)
class Ranked:
    """The tracks that a search found for a query, best first, and their scores."""

    tracks: np.ndarray
    scores: np.ndarray

    def place(self, true: int) -> int:
        """The place of a track, from 0; beyond all if it was not found."""
        at = np.flatnonzero(self.tracks == true)
        return int(at[0]) if len(at) else sys.maxsize

    def scores_of(self, first: int, stop: int, but: int = -1) -> np.ndarray:
        """The scores of the tracks first to stop, except one; 0 for those that were not found."""
        scores = np.zeros(stop - first)
        inside = (self.tracks >= first) & (self.tracks < stop)
        scores[self.tracks[inside] - first] = self.scores[inside]
        return np.delete(scores, but - first) if first <= but < stop else scores


def places(ranked: Sequence[Ranked], true: Sequence[int]) -> np.ndarray:
    """The place of each query's true track, int64 [queries]."""
    return np.array([one.place(track) for one, track in zip(ranked, true, strict=True)])


def foreseen(ranked: Sequence[Ranked], true: Sequence[int], others: range, best: int, tracks: int) -> np.ndarray:
    """Whether each query's true track would be among the `best` of so many tracks that are like `others`."""
    false = [one.scores_of(others.start, others.stop, track) for one, track in zip(ranked, true, strict=True)]
    drawn = min(len(scores) for scores in false)
    tails = fit_tails([scores[:drawn] for scores in false], drawn)
    scores = [one.scores_of(track, track + 1)[0] for one, track in zip(ranked, true, strict=True)]
    chance = np.array([best / tracks])
    return np.array([score > tail.quantile(chance)[0] for score, tail in zip(scores, tails, strict=True)])


def needed(work: Sequence[float], kept: Sequence[float]) -> tuple[float, bool]:
    """(work at which WANTED is kept, whether the least work keeps it already). work: ascending. nan if none keeps it.

    Between two points it is interpolated over the logarithm of the work.
    """
    best = np.maximum.accumulate(kept)
    if best[-1] < WANTED:
        return float("nan"), False
    after = int(np.argmax(best >= WANTED))
    if after == 0:
        return float(work[0]), True
    share = (WANTED - best[after - 1]) / (best[after] - best[after - 1])
    return float(work[after - 1] * (work[after] / work[after - 1]) ** share), False


def exponent(sizes: Sequence[float], work: Sequence[float]) -> float:
    """The b of work = a * size^b, fitted to the logarithms. nan if fewer than two values of `work` are finite."""
    known = np.isfinite(work)
    if known.sum() < 2:
        return float("nan")
    return float(np.polyfit(np.log(np.asarray(sizes)[known]), np.log(np.asarray(work)[known]), 1)[0])
