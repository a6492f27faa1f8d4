"""The report's network in Chromium: what it shows, and that names do not overlap anything."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from asid_core.config import Config, ReportConfig
from pipelines.report.page import report
from pipelines.store.location import Location
from tests.pipelines import fake_sweep
from tests.pipelines.fake_sweep import add_sweep, detection
from tests.pipelines.report.browser import Browser
from tests.pipelines.report.test_report_browser import ROWS, go, put

# boxes of names and circles on the screen, as cytoscape itself measures them
BOXES = """asid.networkView.graph().nodes().map((node) => {
  const box = ({x1, x2, y1, y2}) => [x1, x2, y1, y2];
  const measured = (of) => box(node.renderedBoundingBox(
    {includeNodes: false, includeLabels: false, includeEdges: false, includeOverlays: false, ...of}));
  return {name: node.data('label') ? measured({includeLabels: true}) : null, circle: measured({includeNodes: true})};
})"""
# cytoscape measures a text when it paints it: until then a name has the size of the zoom before
PAINTED = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"
HEADS = """asid.networkView.graph().edges().map((edge) => edge.renderedTargetEndpoint())"""
SAME: dict[str, Any] = {"query_start_s": 6.0, "query_end_s": 10.0}  # as the span of the reference
GROUP = [("a", "b"), ("b", "c"), ("a", "c")]  # three tracks that share the same material


def test_the_network(opened: Browser) -> None:
    go(opened, "network", "asid.networkView.graph()")
    assert opened.run("asid.networkView.graph().edges().length") == 6  # a relation each
    before = opened.run("asid.networkView.graph().zoom()")
    opened.run("document.getElementById('zoom-in').click()")
    assert opened.run("asid.networkView.graph().zoom()") == pytest.approx(1.4 * before)
    opened.run(
        "[...document.querySelectorAll('#network-side li button')].find((b) => b.textContent === 'old.wav').click()"
    )
    assert "Sampled by" in opened.run("document.getElementById('network-side').textContent")
    put(opened, "network-group", "artist")
    assert opened.run("asid.networkView.graph().nodes().map((n) => n.data('label'))")[:2] == [
        "MC Young\n1994",
        "The Olds\n1971",
    ]
    put(opened, "network-layout", "year")
    years = opened.run("asid.networkView.graph().nodes().slice(0, 2).map((n) => n.position('x'))")
    assert years[0] > years[1]  # the younger to the right


def open_network(chromium: Browser, tmp_path: Path, pairs: list[tuple[str, str]]) -> None:
    catalogue = fake_sweep.make(str(tmp_path / "cat"))
    add_sweep(catalogue, [detection(*pair, 0.9 - i / 1000, **SAME) for i, pair in enumerate(pairs)], sweep_id="3")
    report(catalogue, Location(str(tmp_path / "out")), Config(report=ReportConfig(sound_mb=0)))
    chromium.problems.clear()
    chromium.open((tmp_path / "out" / "index.html").as_uri())
    go(chromium, "network", "asid.networkView.graph()")


def meet(a: list[float], b: list[float], slack: float = 2.0) -> bool:
    return a[0] + slack < b[1] and b[0] + slack < a[1] and a[2] + slack < b[3] and b[2] + slack < a[3]


@pytest.mark.parametrize(("width", "factor"), [(1280, 1.0), (360, 1.0), (1280, 1.96)])
def test_names_cover_no_circle_no_arrow_head_and_no_other_name(
    chromium: Browser, tmp_path: Path, width: int, factor: float
) -> None:
    rng = random.Random(3)
    pairs = [(f"query {i % 23} of some length", f"reference {rng.randrange(i + 1)}") for i in range(40)]
    chromium.look(width=width, height=800)
    open_network(chromium, tmp_path, pairs)
    chromium.run("scrollTo(0, 0)")
    for _ in range(2 if factor > 1 else 0):
        chromium.run("document.getElementById('zoom-in').click()")
    chromium.run("asid.networkView.name()")
    assert chromium.run(PAINTED)
    boxes = chromium.run(BOXES)
    names = [box["name"] for box in boxes if box["name"]]
    assert len(names) >= 5
    for i, name in enumerate(names):
        assert not any(meet(name, other) for other in names[:i])
        assert not any(meet(name, box["circle"]) for box in boxes if box["name"] is not name)
        assert not any(meet(name, [x, x, y, y]) for x, y in ((p["x"], p["y"]) for p in chromium.run(HEADS)))
    chromium.look()


def test_tracks_that_share_one_thing_are_arrows_to_one_diamond(chromium: Browser, tmp_path: Path) -> None:
    open_network(chromium, tmp_path, [*GROUP, ("d", "e")])
    shapes = chromium.run("asid.networkView.graph().nodes().map((n) => n.data('shape'))")
    assert sorted(shapes) == ["diamond", *["ellipse"] * 5]
    assert chromium.run("asid.networkView.graph().edges().length") == 4  # three to the diamond
    press = "[...document.querySelectorAll('#network-side li button')].find((b) => b.textContent === 'Common source')"
    chromium.run(f"{press}.click()")
    text = chromium.run("document.getElementById('network-side').textContent")
    assert "Share one thing, which is perhaps not in the catalogue" in text
    chromium.run("[...document.querySelectorAll('#network-side a.button')].pop().click()")
    chromium.wait(f"{ROWS}.length === 3")
    assert chromium.problems == []
