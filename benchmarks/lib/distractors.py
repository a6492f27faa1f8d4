"""Distractors without recordings: fingerprints drawn like real ones, and what the best of very many would score.

A synthetic track is a surrogate (Prichard & Theiler 1994): the spectra over time of two real tracks' fingerprints,
every frequency turned by a random phase, the same for all dimensions. That keeps how dimensions go together, and how
each goes with itself and the others some seconds later: so what matches a query for one window matches it for the next
ones as often as in real music. Nothing of what was played is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from asid_core.evaluation.metrics import Floats

TAIL_SHARE = 0.1  # of a query's distractors that its tail is fitted to
LARGEST_SHAPE = 0.0  # of the tail: cosines end at 1, so scores cannot fall off more slowly than exponentially


class Surrogates:
    """Draws tracks like some real ones."""

    def __init__(self, tracks: Sequence[Tensor], rows: int) -> None:
        """tracks [n_i, dim], L2-normalised rows or zero; what is shorter than `rows` is played back and forth.

        Raises ValueError where there is no track.
        """
        sounding = [track[(track != 0).any(1)] for track in tracks]
        sounding = [track for track in sounding if len(track) > 1]
        if not sounding:
            raise ValueError("no real fingerprints to draw others from")
        self.rows = rows
        self.mean = torch.cat(sounding).mean(0)
        self.spectra = [torch.fft.rfft(to_length(track, rows) - self.mean, dim=0) for track in sounding]

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """[count * rows, dim], rows L2-normalised, track after track."""
        found = []
        for _ in range(count):
            first, second = torch.randint(0, len(self.spectra), (2,), generator=generator).tolist()
            angle = torch.rand((), generator=generator) * torch.pi / 2
            mixed = angle.cos() * self._turned(first, generator) + angle.sin() * self._turned(second, generator)
            found.append(torch.fft.irfft(mixed, n=self.rows, dim=0) + self.mean)
        return torch.nn.functional.normalize(torch.cat(found), dim=1)

    def _turned(self, track: int, generator: torch.Generator) -> Tensor:
        spectrum = self.spectra[track]
        phases = torch.rand(len(spectrum), 1, generator=generator) * 2 * torch.pi
        phases[0] = 0  # what a track is on the whole
        if self.rows % 2 == 0:
            phases[-1] = 0
        return spectrum * torch.polar(torch.ones_like(phases), phases)


def to_length(track: Tensor, rows: int) -> Tensor:
    """The first `rows` of [n, dim]; a shorter one runs back and forth until there are so many."""
    there_and_back = torch.cat([track, track.flip(0)])
    return there_and_back.repeat(-(-rows // len(there_and_back)), 1)[:rows]


@dataclass(frozen=True)
class Tail:
    """Coarse scores of one query's distractors: those found, falling [m], and how they go on (generalised Pareto)."""

    scores: Floats
    drawn: int  # distractors they are the best of
    start: float
    scale: float
    shape: float

    def quantile(self, chance: Floats) -> Floats:
        """The score that a distractor exceeds with this chance; -inf where that is more than were found."""
        share = self.fitted / self.drawn
        rank = np.minimum((chance * self.drawn).astype(int), len(self.scores) - 1)
        inside = np.where(chance * self.drawn < len(self.scores), self.scores[rank], -np.inf)
        log = -np.log(np.maximum(chance, 1e-300) / share)
        grown = log if self.shape == 0 else np.expm1(self.shape * log) / self.shape
        return np.where(chance < share, self.start + self.scale * grown, inside)

    def moved(self, shift: float, scale: float) -> Tail:
        """The tail of `shift + scale * score`."""
        start = shift + scale * self.start
        return Tail(shift + scale * self.scores, self.drawn, start, scale * self.scale, self.shape)

    @property
    def fitted(self) -> int:
        """How many of the best the tail was fitted to."""
        return in_tail(self.drawn)

    def best(self, count: int, tracks: int, rng: np.random.Generator) -> Floats:
        """The `count` best scores, falling, of `tracks` distractors; `tracks` may be far more than were ever drawn."""
        if tracks == 0:
            return np.zeros(0)
        arrivals = np.cumsum(rng.exponential(size=min(count, tracks)))
        rest = rng.gamma(tracks + 1 - len(arrivals))
        found = self.quantile(arrivals / (arrivals[-1] + rest))  # the smallest of so many uniform numbers
        return found[np.isfinite(found)]


def in_tail(drawn: int) -> int:
    """How many of the best of `drawn` a tail is fitted to."""
    return max(2, round(TAIL_SHARE * drawn))


def fit_tails(scores: Sequence[Floats], drawn: int) -> list[Tail]:
    """A tail for each query from the scores of its distractors found among `drawn`.

    Its scale is the query's own mean excess; the shape is one for all (by probability-weighted moments, Hosking &
    Wallis 1987), since some dozen values tell nothing of it. Raises ValueError where a
    query has too few.
    """
    count = in_tail(drawn)
    falling = [np.sort(np.asarray(s, float))[::-1] for s in scores]
    if any(len(s) <= count for s in falling):
        raise ValueError(f"a tail needs more than {count} distractors found of {drawn}: keep more hits a window")
    excess = [s[:count] - s[count] for s in falling]
    means = np.array([max(float(e.mean()), 1e-6) for e in excess])
    shape = min(_shape(np.array(excess)), LARGEST_SHAPE)
    return [Tail(s, drawn, float(s[count]), float(m * (1 - shape)), shape) for s, m in zip(falling, means, strict=True)]


def _shape(excess: npt.NDArray[np.float64]) -> float:
    """Shape of generalised Pareto distributions that differ in scale alone, [queries, n]: 0 exponential, below it one
    that ends.

    Moments are taken a query, where their ratio does not depend on the scale, and the ratios averaged: pooled excesses
    over their means would look lighter than they are.
    """
    ordered = np.sort(excess, axis=1)
    n = ordered.shape[1]
    above = (n - np.arange(1, n + 1)) / (n - 1)
    ratio = float(np.mean((above * ordered).mean(1) / np.maximum(ordered.mean(1), 1e-12)))
    return 2 - 1 / (1 - 2 * ratio)
