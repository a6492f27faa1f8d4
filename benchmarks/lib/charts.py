"""Charts for RESULTS.md, as SVG files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.lib.calibration import Bin


@dataclass(frozen=True)
class Series:
    """A series of points (count, value), drawn as a line if `joined`, else as marks."""

    name: str
    points: Sequence[tuple[float, float]]
    joined: bool


def curves(series: Sequence[Series], axis: str, path: Path) -> None:
    """Draw values from 0 to 1 over a logarithmic axis of counts. axis: its label. Raises ValueError without points."""
    if not any(one.points for one in series):
        raise ValueError("no points to draw")
    figure, axes = _empty()
    for one in series:
        axes.plot(*zip(*one.points, strict=True), marker="o", linestyle="-" if one.joined else "", label=one.name)
    axes.set(xscale="log", xlabel=axis, ylim=(0, 1.02))
    _save(figure, axes, path)


def reliabilities(systems: Mapping[str, Sequence[Bin]], axis: str, path: Path) -> None:
    """Draw the share that is right against the mean score, with intervals. axis: what the score says."""
    figure, axes = _empty()
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1, label="calibrated")
    for name, bins in systems.items():
        right = [one.right for one in bins]
        bars = [[one.right - one.interval[0] for one in bins], [one.interval[1] - one.right for one in bins]]
        axes.errorbar([one.mean_score for one in bins], right, yerr=bars, marker="o", capsize=3, label=name)
    axes.set(xlabel=axis, ylabel="share that is right", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    _save(figure, axes, path)


def _empty() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    axes.grid(color="#ddd")
    return figure, axes


def _save(figure: Figure, axes: Axes, path: Path) -> None:
    axes.legend()
    path.parent.mkdir(exist_ok=True)
    with rc_context({"svg.hashsalt": "asid"}):  # else two charts of the same points differ
        figure.savefig(path, metadata={"Date": None})
