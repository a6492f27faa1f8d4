"""The report in Chromium (skipped without it): sorting, filtering, playing, and hostile names."""

from __future__ import annotations

import functools
import json
import threading
from datetime import datetime, timezone
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from asid_core.config import Config
from pipelines.report.findings import newest_findings
from pipelines.report.page import report
from pipelines.store import verdicts
from pipelines.store.catalogue import Catalogue
from pipelines.store.location import Location
from tests.pipelines import fake_sweep
from tests.pipelines.fake_sweep import add_sweep, detection
from tests.pipelines.report.browser import Browser

ROWS = "[...document.querySelectorAll('#table-body tr')]"
# number of visible controls and images without a name
NAMELESS = """[...document.querySelectorAll('a, button, input, select, [role=img]')].filter((e) => e.checkVisibility())
  .filter((e) => !(e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.[0]?.textContent.trim())).length"""
# lowest contrast of any text with its background, by the formula of WCAG 2
CONTRAST = """(() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const ground = (e) => {
    const color = rgb(getComputedStyle(e).backgroundColor);
    return color[3] === 0 ? ground(e.parentElement) : color;
  };
  const isText = (node) => node.nodeType === 3 && node.data.trim();
  const words = [...document.querySelectorAll('main *, header *')]
    .filter((e) => e.checkVisibility() && [...e.childNodes].some(isText) && !e.disabled && !e.matches('.off'));
  return Math.min(...words.map((e) => {
    const [a, b] = [light(rgb(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  }));
})()"""
# cumulative layout shift while the page loads, as Chromium measures it
SHIFT = """new Promise((done) => {
  let sum = 0;
  const add = (entries) => entries.forEach((entry) => { sum += entry.hadRecentInput ? 0 : entry.value; });
  const observer = new PerformanceObserver((list) => add(list.getEntries()));
  observer.observe({ type: 'layout-shift', buffered: true });
  requestAnimationFrame(() => requestAnimationFrame(() => { add(observer.takeRecords()); done(sum); }));
})"""
# every view, and a condition that is true once it is shown
VIEWS = {
    "samples": "true",
    "duplicates": "true",
    "r0": "document.querySelector('canvas')",
    "network": "asid.networkView.graph()",
    "exports": "true",
}
AXE = Path(__file__).parents[3] / "node_modules" / "axe-core" / "axe.min.js"
# start and length in seconds of each voice that the player plays
PARTS = "(asid.player.playing()?.parts || []).map((part) => [part.from, part.seconds])"


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def put(browser: Browser, name: str, value: str) -> None:
    """Set the value of a control as a user does."""
    browser.run(f"document.getElementById('{name}').value = '{value}'")
    for event in ("input", "change"):
        browser.run(f"document.getElementById('{name}').dispatchEvent(new Event('{event}', {{bubbles: true}}))")


def address(browser: Browser, view: str) -> str:
    """The part of the address after `#` for a view. `r3` is the relation in row 3, `r3/8` its place at 8 s."""
    name, _, place = view.partition("/")
    if not name[1:].isdigit():
        return view
    found = browser.run(f"asid.state.rows.sample[{name[1:]}].id")
    return f"r{found}/{place}" if place else f"r{found}"


def go(browser: Browser, view: str, ready: str) -> None:
    browser.run(f"location.hash = '{address(browser, view)}'")
    browser.wait(ready)


def test_sorts_by_mouse_and_keyboard(opened: Browser) -> None:
    scores = f"{ROWS}.map((row) => Number(row.cells[0].textContent))"
    assert opened.run(scores) == [0.95, 0.9, 0.85, 0.8, 0.7, 0.5]
    opened.run("document.querySelector('[data-key=score]').click()")
    assert opened.run(scores) == [0.5, 0.7, 0.8, 0.85, 0.9, 0.95]
    assert opened.run("document.querySelector('[data-key=score]').closest('th').ariaSort") == "ascending"
    opened.run("document.querySelector('[data-key=reference]').focus()")
    opened.key("Enter", 13)
    names = opened.run(f"{ROWS}.map((row) => row.cells[2].querySelector('.name').textContent)")
    assert names[-3:] == ["old.wav", "tab and line", fake_sweep.RIGHT_TO_LEFT]
    assert opened.run("document.activeElement.dataset.key") == "reference"  # the focus has not moved


def test_filters(opened: Browser) -> None:
    put(opened, "filter-text", "olds 1971 young")
    opened.wait(f"{ROWS}.length === 1")
    assert opened.run("document.getElementById('list-status').textContent") == "1 of 6 pairs with samples"
    opened.run("document.querySelector('#filters button[type=reset]').click()")
    opened.wait(f"{ROWS}.length === 6")
    put(opened, "filter-change", "both")
    opened.wait(f"{ROWS}.length === 2")
    put(opened, "filter-change", "")
    put(opened, "filter-direction", "known")
    opened.wait(f"{ROWS}.length === 2 && {ROWS}.every((row) => row.cells[7].textContent === 'by year')")


def test_hostile_names_are_shown_as_they_are(opened: Browser) -> None:
    names = opened.run("[...document.querySelectorAll('#table-body .name')].map((e) => e.textContent)")
    assert fake_sweep.SCRIPT in names and max(map(len, names)) == 200
    assert opened.run("document.querySelectorAll('#table-body script, #table-body img, #table-body b').length") == 0
    for view, ready in (("r1", "document.querySelector('.controls')"), ("network", "asid.networkView.graph()")):
        go(opened, view, ready)
        assert opened.run("window.hacked") is None
    opened.look(width=360, height=740, phone=True)
    for view in ("samples", "r1", "r2", "r3", "network", "exports"):
        go(opened, view, "true")
        assert opened.run("document.documentElement.scrollWidth") <= 360, view


def test_near_duplicates_are_apart(opened: Browser) -> None:
    go(opened, "duplicates", f"{ROWS}.length === 1")
    assert "copy.wav" in opened.run(f"{ROWS}[0].textContent")
    assert opened.run("document.querySelector('[aria-current]').textContent.trim()") == "Near-duplicates 1"


@pytest.mark.parametrize(
    "button", ["Play query", "Reference at the query’s pitch and tempo", "In turn", "Both at once"]
)
def test_a_finding_is_heard(opened: Browser, button: str) -> None:
    opened.run(f"{ROWS}[0].querySelector('a').click()")
    opened.wait("document.querySelectorAll('.snippet canvas').length === 3")
    press = f"[...document.querySelectorAll('.controls button')].find((b) => b.textContent === '{button}')"
    opened.run(f"{press}.click()")
    opened.wait("document.querySelector('.shared .playhead').style.left")
    assert opened.run(f"{press}.ariaPressed") == "true"
    parts = opened.run(PARTS)
    (first, seconds), last = parts[0], parts[-1]
    assert seconds == pytest.approx(5.0, abs=0.1)  # 4 s and 0.5 s of context on either side
    if button == "Both at once":  # equally long, and started at the same time
        assert len(parts) == 2 and last == pytest.approx([first, seconds], abs=1e-4)
    elif button == "In turn":
        assert len(parts) == 2 and last[0] == pytest.approx(first + seconds)
    opened.key("Escape", 27)
    assert not opened.run("asid.player.isPlaying()") and opened.run(f"{press}.ariaPressed") == "false"


def test_it_ends_by_itself(opened: Browser) -> None:
    go(opened, "r0", "document.querySelectorAll('.snippet canvas').length === 3")
    opened.run("document.querySelector('.controls .reference').click()")
    opened.wait("asid.player.isPlaying()")
    opened.run("asid.player.playing().sources[0].stop()")  # as if it had ended
    opened.wait("!asid.player.isPlaying()")
    assert opened.run("document.querySelector('.controls .reference').ariaPressed") == "false"


def test_the_pictures_mark_what_matches(opened: Browser) -> None:
    go(opened, "r0", "document.querySelectorAll('.snippet .mark').length === 2")
    left = opened.run("[...document.querySelectorAll('.mark')].map((m) => m.offsetLeft / m.parentElement.offsetWidth)")
    assert left == pytest.approx([0.1, 0.1], abs=0.02)  # 0.5 of 5 s
    assert opened.run("document.querySelectorAll('.tracks .this .link').length") == 1
    go(opened, "r5", "document.querySelector('.sound .note')")
    assert "no sound" in opened.run("document.querySelector('.sound').textContent")


def test_a_relation_opens_to_its_places(opened: Browser) -> None:
    go(opened, "r4", "document.querySelectorAll('.place-list li').length === 2")
    assert "Sampled 2 times, 0:07.5 in total. Direction by year: 1988 after 1971." in opened.run(
        "document.body.textContent"
    )
    assert opened.run("document.querySelectorAll('.tracks .this, .tracks .other').length") == 2
    assert (
        opened.run("document.querySelector('.place-list [aria-current]').textContent")
        == "0:02.0–0:06.0 from 0:06.0–0:10.0"
    )
    opened.run("document.querySelectorAll('.place-list a')[1].click()")
    opened.wait("document.querySelector('.place-list [aria-current]')?.textContent.startsWith('0:08.0')")
    assert "/8.0/" in opened.run("location.hash")
    go(opened, "r4/7.1", "document.querySelector('.place-list [aria-current]')?.textContent.startsWith('0:08.0')")
    go(opened, "r1", "document.body.textContent.includes('Direction unknown')")


def test_tracks_that_share_material_are_shown_together(chromium: Browser, tmp_path: Path) -> None:
    catalogue = fake_sweep.make(str(tmp_path / "cat"))
    rows = [
        detection("b/plain.wav", "b/copy.wav", 0.9),
        detection("b/copy.wav", "x.wav", 0.8, query_start_s=6.0, query_end_s=10.0),
    ]
    rows.append(detection("b/plain.wav", "x.wav", 0.7))
    rows.append(detection("b/plain.wav", "y.wav", 0.6))
    add_sweep(catalogue, rows, sweep_id="3")
    report(catalogue, Location(str(tmp_path / "out")), Config())
    chromium.problems.clear()
    chromium.open((tmp_path / "out" / "index.html").as_uri())
    go(chromium, "r0", "document.querySelector('.common')")
    text = chromium.run("document.querySelector('.common').textContent")
    assert text == "One of 3 tracks that share the same material, from a source that may not be in the catalogue."
    chromium.run("document.querySelector('.common a').click()")
    chromium.wait(f"{ROWS}.length === 3")
    assert chromium.problems == []


def test_an_address_that_this_report_does_not_have_says_so(opened: Browser, page: str) -> None:
    opened.open(f"{page}#r{'0' * 16}")
    assert opened.run("document.querySelector('#relation-heading').textContent") == "No such finding"


def test_verdicts_by_keyboard_are_kept_saved_and_filtered(opened: Browser, page: str) -> None:
    opened.run("localStorage.clear()")
    opened.open(page)
    opened.key("j", 74)
    opened.key("j", 74)
    opened.key("n", 78)  # the second relation, which leaves the list
    opened.wait(f"{ROWS}.length === 5")
    go(opened, "r0", "document.querySelector('.verdict-panel button')")
    opened.key("y", 89)
    opened.wait("document.querySelector('.verdict-panel [aria-pressed=true]')?.textContent === 'Confirmedy'")
    opened.run("""(() => { const note = document.querySelector('.verdict-panel input'); note.value = 'the break';
      note.dispatchEvent(new Event('change')); })()""")
    before = opened.run("location.hash")
    opened.key("j", 74)
    opened.wait(f"location.hash !== '{before}'")
    opened.key("k", 75)
    opened.wait(f"location.hash === '{before}'")
    saved = json.loads(opened.run("asid.verdict.text()"))["verdicts"]
    assert [(v["verdict"], v["note"]) for v in saved] == [("not a sample", ""), ("confirmed", "the break")]
    assert verdicts.parse(opened.run("asid.verdict.text()").encode(), "me")[1]["note"] == "the break"
    opened.open(page)  # they are still there
    assert opened.run("document.getElementById('verdicts-status').textContent") == "2 verdicts in this browser."
    put(opened, "filter-verdict", "confirmed")
    opened.wait(f"{ROWS}.length === 1")
    go(opened, "r0", "document.querySelector('.verdict-panel input')?.value === 'the break'")
    opened.key("y", 89)  # pressing again takes it back
    opened.wait("!document.querySelector('.verdict-panel [aria-pressed=true]')")
    opened.run("localStorage.clear()")


def test_a_relation_that_leaves_the_list_does_not_stop_the_keys(opened: Browser, page: str) -> None:
    opened.run("localStorage.clear()")
    opened.open(page)
    go(opened, "r1", "document.querySelector('.verdict-panel button')")
    after = opened.run("asid.state.rows.sample[2].id")
    opened.key("n", 78)
    opened.wait("document.querySelector('.verdict-panel [aria-pressed=true]')")
    opened.key("j", 74)
    opened.wait(f"location.hash === '#r{after}'")
    go(opened, "samples", f"{ROWS}.length === 5")
    opened.run("localStorage.clear()")


def test_places_that_match_one_part_of_the_query_are_one_time(chromium: Browser, tmp_path: Path) -> None:
    catalogue = fake_sweep.make(str(tmp_path / "cat"))
    rows = [detection("b/plain.wav", "b/old.wav", 0.9), detection("b/plain.wav", "b/old.wav", 0.8)]
    rows[1] |= {"reference_start_s": 8.0, "reference_end_s": 12.0}
    add_sweep(catalogue, rows, sweep_id="3")
    report(catalogue, Location(str(tmp_path / "out")), Config())
    chromium.problems.clear()
    chromium.open((tmp_path / "out" / "index.html").as_uri())
    go(chromium, "r0", "document.querySelectorAll('.place-list > li').length === 1")
    assert "Sampled once" in chromium.run("document.body.textContent") or "Shared once" in chromium.run(
        "document.body.textContent"
    )
    chromium.run("document.querySelector('.place-list summary').click()")
    chromium.run("document.querySelector('.place-list ul a').click()")
    chromium.wait("document.querySelector('.place-list details[open] [aria-current]')")
    assert chromium.problems == []


def test_space_plays_an_open_relation_and_stops_it(opened: Browser) -> None:
    go(opened, "r0", "document.querySelectorAll('.snippet canvas').length === 3")
    opened.run("document.activeElement.blur()")
    opened.key(" ", 32)
    opened.wait(f"{PARTS}.length === 2")
    opened.key(" ", 32)
    opened.wait("!asid.player.isPlaying()")


def test_the_next_report_starts_with_what_is_new_and_knows_the_verdicts(chromium: Browser, tmp_path: Path) -> None:
    catalogue, output = fake_sweep.make(str(tmp_path / "cat")), Location(str(tmp_path / "out"))
    report(catalogue, output, Config())
    old = [detection("b/other.wav", "b/old.wav", 0.9), detection("b/plain.wav", "b/old.wav", 0.8)]
    add_sweep(catalogue, old, sweep_id="3")
    ids = [row["relation_id"] for row in newest_findings(catalogue, 9).relations.to_pylist()]
    said = {"note": "", "said_by": "Ann", "said_at": datetime(2026, 1, 2, tzinfo=timezone.utc)}
    row = {"relation_id": ids[0], "verdict": "confirmed", "query_id": "q", "reference_id": "r"}
    verdicts.write(catalogue, [row | said])
    report(catalogue, output, Config())
    chromium.problems.clear()
    chromium.open((tmp_path / "out" / "index.html").as_uri())
    names = f"{ROWS}.map((row) => row.cells[1].querySelector('.name').textContent)"
    assert chromium.run(names) == ["plain.wav"] and chromium.run("filters.elements['filter-verdict'].value") == "new"
    put(chromium, "filter-verdict", "left")
    chromium.wait(f"{ROWS}.length === 2")
    assert "By Ann, 2026-01-02" not in chromium.run("document.body.textContent")
    go(chromium, "r0", "document.querySelector('.verdict-panel')")
    assert "By Ann, 2026-01-02" in chromium.run("document.querySelector('.verdict-panel').textContent")
    assert chromium.problems == []


@pytest.mark.parametrize("width", [360, 768, 1280])
@pytest.mark.parametrize("view", VIEWS)
def test_nothing_moves_while_it_loads_and_nothing_is_cut_off(opened: Browser, page: str, view: str, width: int) -> None:
    opened.look(width=width, height=800)
    opened.open(f"{page}#{address(opened, view)}")
    opened.wait(VIEWS[view])
    assert opened.run(SHIFT) < 0.01  # a tenth of the limit that counts as good
    assert opened.run("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.skipif(not AXE.exists(), reason="needs axe-core: npm install --no-save axe-core")
@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_nothing(opened: Browser, view: str) -> None:
    for look in ({"dark": False}, {"dark": True}, {"width": 360, "height": 740, "phone": True}):
        opened.look(**look)
        go(opened, view, VIEWS[view])
        opened.run(AXE.read_text() + "; 0")
        found = opened.run("axe.run(document, {preload: false}).then((r) => r.violations.map((v) => v.id + v.help))")
        assert found == [], look


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("view", VIEWS)
def test_can_be_read_by_all(opened: Browser, view: str, dark: bool) -> None:
    opened.look(dark=dark)
    go(opened, view, VIEWS[view])
    assert opened.run(NAMELESS) == 0
    assert opened.run(CONTRAST) >= 4.5  # WCAG AA
    # a new view moves the focus to its heading
    assert view == "samples" or opened.run("document.activeElement.tagName") == "H2"


def test_many_findings_come_in_pages(chromium: Browser, tmp_path: Path) -> None:
    catalogue = fake_sweep.make(str(tmp_path / "cat"))
    rows = [detection(f"q{i % 500}", f"r{i}", 1 - i / 10_000) for i in range(1200)]
    add_sweep(catalogue, rows, sweep_id="3")
    report(catalogue, Location(str(tmp_path / "out")), Config())
    chromium.problems.clear()
    chromium.open((tmp_path / "out" / "index.html").as_uri())
    assert chromium.run("asid.state.head.pages.length") == 3
    assert chromium.run("document.getElementById('list-status').textContent") == "1,200 pairs with samples"
    chromium.run("document.getElementById('page-next').click()")
    assert (
        chromium.run(f"{ROWS}[0].querySelector('.name').textContent") == "q50" and chromium.run(f"{ROWS}.length") == 50
    )
    assert chromium.problems == []


@pytest.mark.parametrize("pairs", [2_000, pytest.param(20_000, marks=pytest.mark.slow)])
def test_a_large_report_opens_within_two_seconds(chromium: Browser, tmp_path: Path, pairs: int) -> None:
    catalogue = Catalogue(str(tmp_path / "cat"), create=True, geometry=fake_sweep.GEOMETRY)
    spans = [{"query_start_s": 10.0 * k, "query_end_s": 10.0 * k + 4} for k in range(5)]
    rows = [
        detection(f"{i % 997} in a folder", f"other {i}", 1 - i / 1e5, **span) for i in range(pairs) for span in spans
    ]
    add_sweep(catalogue, rows)
    report(catalogue, Location(str(tmp_path / "out")), Config())
    chromium.open((tmp_path / "out" / "index.html").as_uri())
    seconds = chromium.run("performance.getEntriesByName('ready')[0].startTime") / 1000
    print(f"{pairs:,} pairs, {len(rows):,} places: complete after {seconds:.2f} s")
    assert chromium.run("asid.state.rows.sample.length") == pairs and seconds < 2


def test_served_from_a_bucket_or_server_it_is_the_same(chromium: Browser, page: str) -> None:
    folder = str(Path(page.removeprefix("file://")).parent)
    handler = functools.partial(QuietHandler, directory=folder)
    chromium.problems.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        chromium.open(f"http://127.0.0.1:{server.server_port}/index.html")
        go(chromium, "r0", "document.querySelector('canvas')")
        chromium.wait("document.querySelectorAll('canvas').length === 3")
        chromium.run("[...document.querySelectorAll('.controls button')][0].click()")
        chromium.wait("!document.querySelector('.query .playhead').hidden")
        go(chromium, "network", "asid.networkView.graph()")
        chromium.navigate("about:blank")
        server.shutdown()
    assert chromium.problems == []


def test_a_sweep_that_found_nothing_says_so(chromium: Browser, tmp_path: Path) -> None:
    catalogue = fake_sweep.make(str(tmp_path / "cat"))
    add_sweep(catalogue, [], sweep_id="3")
    report(catalogue, Location(str(tmp_path / "out")), Config())
    chromium.problems.clear()
    chromium.open((tmp_path / "out" / "index.html").as_uri())
    assert chromium.run("document.getElementById('list-status').textContent") == "No samples were found."
    go(chromium, "network", "document.getElementById('network-status').textContent === 'No pairs to show.'")
    assert chromium.problems == []
