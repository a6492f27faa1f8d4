"""Draws a small SVG chart of values from 0 to 1 over a logarithmic axis of counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 640, 340, 52, 16, 34, 92
COLOURS = ("#1b6ca8", "#c2571a")


@dataclass(frozen=True)
class Series:
    """A series of points (count, value), drawn as a line if `joined`, else as marks."""

    name: str
    points: Sequence[tuple[float, float]]
    joined: bool


def curve(series: Sequence[Series], axis: str) -> str:
    """An SVG chart of `series`, in alternating COLOURS. axis: label of the x axis. Raises ValueError without points."""
    counts = [count for s in series for count, _ in s.points]
    if not counts:
        raise ValueError("no points to draw")
    low = math.floor(math.log10(min(counts)))
    high = max(math.ceil(math.log10(max(counts))), low + 1)

    def x(count: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (math.log10(count) - low) / (high - low)

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - value)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for tenth in range(0, 11, 2):
        at = y(tenth / 10)
        parts.append(f'<line x1="{LEFT}" y1="{at:.1f}" x2="{WIDTH - RIGHT}" y2="{at:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{tenth / 10:.1f}</text>')
    for power in range(low, high + 1):
        at = x(10**power)
        parts.append(f'<line x1="{at:.1f}" y1="{TOP}" x2="{at:.1f}" y2="{HEIGHT - BOTTOM}" stroke="#ddd"/>')
        parts.append(f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{10**power:,}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - BOTTOM + 34}" text-anchor="middle">{escape(axis)}</text>')
    for number, one in enumerate(series):
        parts += _drawn(one, COLOURS[number % len(COLOURS)], [(x(c), y(v)) for c, v in one.points], number)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _drawn(series: Series, colour: str, at: Sequence[tuple[float, float]], number: int) -> list[str]:
    """The SVG elements of a series and of its entry in the legend."""
    column, row = number % 2, number // 2
    left, top = LEFT + column * 290, HEIGHT - 34 + row * 18
    name = f'<text x="{left + 26}" y="{top + 4}">{escape(series.name)}</text>'
    if series.joined:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
        line = f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
        key = f'<line x1="{left}" y1="{top}" x2="{left + 20}" y2="{top}" stroke="{colour}" stroke-width="2"/>'
        return [line, key, name]
    marks = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>' for x, y in at]
    return [*marks, f'<circle cx="{left + 10}" cy="{top}" r="4" fill="{colour}"/>', name]
