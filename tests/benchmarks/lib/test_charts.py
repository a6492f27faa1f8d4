"""Charts are SVG files that name what they show."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.lib.calibration import Bin
from benchmarks.lib.charts import Series, curves, reliabilities


def test_a_chart_is_svg_and_the_same_each_time(tmp_path: Path) -> None:
    series = [Series("a & b", [(30, 1.0), (1000, 0.5)], True), Series("c", [(95, 0.0)], False)]
    for name in ("one", "other"):
        curves(series, "tracks", tmp_path / "made" / f"{name}.svg")
    text = (tmp_path / "made" / "one.svg").read_text()
    assert ElementTree.fromstring(text).tag.endswith("svg") and "a &amp; b" in text
    assert text == (tmp_path / "made" / "other.svg").read_text()
    line = re.search(
        r'd="M ([\d.]+) ([\d.]+) \nL ([\d.]+) ([\d.]+) \n" clip-path="[^"]+" style="fill: none; stroke: #1f77b4', text
    )
    assert line is not None
    x1, y1, x2, y2 = map(float, line.groups())
    assert x1 < x2 and y1 < y2  # higher values are nearer to the top
    with pytest.raises(ValueError, match="no point"):
        curves([Series("empty", [], True)], "tracks", tmp_path / "x.svg")


def test_a_reliability_diagram_names_its_systems(tmp_path: Path) -> None:
    bins = [Bin(0.0, 0.5, 20, 0.1, 0.2, (0.1, 0.4)), Bin(0.5, 1.0, 9, 0.9, 0.8, (0.5, 0.95))]
    reliabilities({"score": bins}, "score of a pair", tmp_path / "r.svg")
    text = (tmp_path / "r.svg").read_text()
    assert all(f"<!-- {name} -->" in text for name in ("score", "calibrated", "score of a pair"))
