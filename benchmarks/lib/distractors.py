"""Synthetic distractors: fingerprints that resemble real ones, and predicted scores of the best of very many.

A synthetic track is a surrogate (Prichard & Theiler 1994): the temporal spectra of the fingerprints of two real tracks,
with each frequency rotated by a random phase that is the same for all dimensions. This preserves the correlations of
dimensions, also over time, so that runs of matching windows are as frequent as in real music.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from asid_core.evaluation.metrics import Floats

TAIL_SHARE = 0.1  # share of a query's distractors to which its tail is fitted
LARGEST_SHAPE = 0.0  # of the tail; cosines are bounded, so scores cannot fall off more slowly than exponentially


class Surrogates:
    """Draws synthetic tracks that resemble real ones."""

    def __init__(self, tracks: Sequence[Tensor], rows: int) -> None:
        """tracks: [n_i, dim] each, with L2-normalised rows or zero. rows: length of the synthetic tracks.

        Raises ValueError if no track has two windows that are not silent.
        """
        sounding = [track[(track != 0).any(1)] for track in tracks]
        sounding = [track for track in sounding if len(track) > 1]
        if not sounding:
            raise ValueError("no real fingerprints to make synthetic ones from")
        self.rows = rows
        self.mean = torch.cat(sounding).mean(0)
        self.spectra = [torch.fft.rfft(to_length(track, rows) - self.mean, dim=0) for track in sounding]

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw `count` tracks: [count * rows, dim], with L2-normalised rows."""
        tracks = []
        for _ in range(count):
            first, second = torch.randint(0, len(self.spectra), (2,), generator=generator).tolist()
            angle = torch.rand((), generator=generator) * torch.pi / 2
            mixed = angle.cos() * self._turned(first, generator) + angle.sin() * self._turned(second, generator)
            tracks.append(torch.fft.irfft(mixed, n=self.rows, dim=0) + self.mean)
        return torch.nn.functional.normalize(torch.cat(tracks), dim=1)

    def numbered(self, start: int, count: int) -> npt.NDArray[np.float32]:
        """Vectors [count, rows, dim] of the tracks from number `start` on. The same numbers draw the same."""
        drawn = self.draw(count, torch.Generator().manual_seed(start))
        return drawn.view(count, self.rows, -1).numpy()

    def _turned(self, track: int, generator: torch.Generator) -> Tensor:
        spectrum = self.spectra[track]
        phases = torch.rand(len(spectrum), 1, generator=generator) * 2 * torch.pi
        phases[0] = 0  # keep the mean of the track
        if self.rows % 2 == 0:
            phases[-1] = 0
        return spectrum * torch.polar(torch.ones_like(phases), phases)


def to_length(track: Tensor, rows: int) -> Tensor:
    """The first `rows` rows of [n, dim]. A shorter track is repeated forwards and backwards."""
    there_and_back = torch.cat([track, track.flip(0)])
    return there_and_back.repeat(-(-rows // len(there_and_back)), 1)[:rows]


@dataclass(frozen=True)
class Tail:
    """Coarse scores of a query's best distractors, descending [m], with a generalised Pareto tail beyond them."""

    scores: Floats
    drawn: int  # number of distractors of which these are the best
    start: float
    scale: float
    shape: float

    def quantile(self, chance: Floats) -> Floats:
        """The score that a distractor exceeds with probability `chance`; -inf if it is below all known scores."""
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
        """Number of scores to which the tail was fitted."""
        return in_tail(self.drawn)

    def best(self, count: int, tracks: int, rng: np.random.Generator) -> Floats:
        """A random draw of the `count` best scores, descending, of `tracks` distractors, which may be very many."""
        if tracks == 0:
            return np.zeros(0)
        arrivals = np.cumsum(rng.exponential(size=min(count, tracks)))
        rest = rng.gamma(tracks + 1 - len(arrivals))
        scores = self.quantile(arrivals / (arrivals[-1] + rest))  # at the smallest of `tracks` uniform numbers
        return scores[np.isfinite(scores)]


def in_tail(drawn: int) -> int:
    """Number of the best of `drawn` distractors to which a tail is fitted."""
    return max(2, round(TAIL_SHARE * drawn))


def fit_tails(scores: Sequence[Floats], drawn: int) -> list[Tail]:
    """Fit a tail for each query to the scores [m] of its best distractors among `drawn`.

    The scale comes from the query's mean excess. The shape is shared by all queries, because a dozen values are too few
    to estimate it (probability-weighted moments, Hosking & Wallis 1987). Raises ValueError if a query has too few.
    """
    count = in_tail(drawn)
    falling = [np.sort(np.asarray(s, float))[::-1] for s in scores]
    if any(len(s) <= count for s in falling):
        raise ValueError(f"a tail needs scores of more than {count} of {drawn} distractors; keep more hits per window")
    excess = [s[:count] - s[count] for s in falling]
    means = np.array([max(float(e.mean()), 1e-6) for e in excess])
    shape = min(_shape(np.array(excess)), LARGEST_SHAPE)
    return [Tail(s, drawn, float(s[count]), float(m * (1 - shape)), shape) for s, m in zip(falling, means, strict=True)]


def _shape(excess: npt.NDArray[np.float64]) -> float:
    """Common shape of generalised Pareto distributions with different scales, from excesses [queries, n].

    0 is exponential; a negative shape means a bounded distribution. The ratio of moments does not depend on the scale,
    so it is computed per query and averaged; pooling the excesses would bias the shape.
    """
    ordered = np.sort(excess, axis=1)
    n = ordered.shape[1]
    above = (n - np.arange(1, n + 1)) / (n - 1)
    ratio = float(np.mean((above * ordered).mean(1) / np.maximum(ordered.mean(1), 1e-12)))
    return 2 - 1 / (1 - 2 * ratio)
