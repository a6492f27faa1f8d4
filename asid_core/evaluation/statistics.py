"""Confidence of figures: bootstrap intervals over queries, and paired tests of two systems on the same queries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from asid_core.evaluation.metrics import Floats

RESAMPLES = 2000
LEVEL = 0.95

Statistic = Callable[[npt.NDArray[np.int64]], float]


@dataclass(frozen=True)
class Figure:
    """A value, its 95 % interval, and the number of queries. NaN if there is nothing to measure."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        if self.n == 0 or np.isnan(self.value):
            return "-"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


NOTHING = Figure(np.nan, np.nan, np.nan, 0)


@dataclass(frozen=True)
class Paired:
    """System a minus system b on the same queries: mean difference, 95 % interval, two-sided permutation p-value."""

    difference: float
    low: float
    high: float
    p_value: float
    n: int

    def __str__(self) -> str:
        p = "p < 0.001" if self.p_value < 0.001 else f"p {self.p_value:.3f}"
        return f"{self.difference:+.3f} [{self.low:+.3f}, {self.high:+.3f}], {p}"


def mean_figure(values: Sequence[float] | Floats, seed: int = 0) -> Figure:
    """Mean with a percentile bootstrap interval. NaN values are left out."""
    return _centre_figure(values, np.mean, seed)


def median_figure(values: Sequence[float] | Floats, seed: int = 0) -> Figure:
    """Median with a percentile bootstrap interval. NaN values are left out."""
    return _centre_figure(values, np.median, seed)


def _centre_figure(values: Sequence[float] | Floats, centre: Callable[..., Any], seed: int) -> Figure:
    kept = np.asarray(values, float)
    kept = kept[~np.isnan(kept)]
    if not len(kept):
        return NOTHING
    draws = centre(kept[_draws(len(kept), seed)], axis=1)
    return Figure(float(centre(kept)), *_interval(draws), len(kept))


def figure(statistic: Statistic, n: int, seed: int = 0) -> Figure:
    """`statistic(indices)` of queries 0..n-1, with a percentile bootstrap interval over queries.

    Resamples for which it is NaN, such as the AUROC of one class, are left out.
    """
    if n == 0:
        return NOTHING
    value = statistic(np.arange(n))
    draws = np.array([statistic(index) for index in _draws(n, seed)])
    return Figure(value, *_interval(draws[~np.isnan(draws)]), n)


def clustered_figure(values: Sequence[float] | Floats, clusters: Sequence[str], seed: int = 0) -> Figure:
    """Mean with an interval from resampling whole clusters, for values that are not independent within a cluster.

    clusters: the cluster of each value. The figure's `n` counts values. Raises ValueError if the lengths differ.
    """
    kept = np.asarray(values, float)
    if len(kept) != len(clusters):
        raise ValueError(f"{len(kept)} values but {len(clusters)} clusters")
    if not len(kept):
        return NOTHING
    _, which = np.unique(np.asarray(clusters), return_inverse=True)
    sums, counts = np.bincount(which, kept), np.bincount(which)
    drawn = _draws(len(counts), seed)
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return Figure(float(kept.mean()), *_interval(means), len(kept))


def paired(a: Sequence[float] | Floats, b: Sequence[float] | Floats, seed: int = 0) -> Paired:
    """Compare two systems by one value per query, in the same order.

    The interval is a bootstrap over queries. The two-sided p-value comes from random sign flips of the differences.
    Raises ValueError if the lengths differ or are 0.
    """
    first, second = np.asarray(a, float), np.asarray(b, float)
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise ValueError(f"a paired test needs one value per query of both, not {first.shape} and {second.shape}")
    difference = first - second
    mean = mean_figure(difference, seed)
    signs = np.random.default_rng([seed, 1]).choice([-1.0, 1.0], (RESAMPLES, len(difference)))
    flipped = np.abs((signs * difference).mean(axis=1))
    extreme = int(np.sum(flipped >= abs(mean.value) - 1e-12))
    return Paired(mean.value, mean.low, mean.high, (extreme + 1) / (RESAMPLES + 1), len(difference))


def _interval(draws: Floats) -> tuple[float, float]:
    if not len(draws):
        return np.nan, np.nan
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _draws(n: int, seed: int) -> npt.NDArray[np.int64]:
    """Indices [RESAMPLES, n], drawn with replacement."""
    return np.random.default_rng(seed).integers(0, n, (RESAMPLES, n))
