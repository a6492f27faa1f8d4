"""A reviewer's loop: verdicts by keyboard in Chromium, saved, stored by `asid review`, filtered in the next report."""

from __future__ import annotations

import json
from pathlib import Path

from jobs import cli
from tests.pipelines import fake_sweep
from tests.pipelines.report.browser import Browser
from tests.pipelines.report.test_report_browser import ROWS, put

NAMES = f"{ROWS}.map((row) => row.cells[2].querySelector('.name').textContent)"


def type_keys(browser: Browser, keys: str) -> None:
    for key in keys:
        browser.key(key, ord(key.upper()))


def test_verdicts_go_round(chromium: Browser, tmp_path: Path) -> None:
    catalogue = ["--catalogue", fake_sweep.make(str(tmp_path / "cat")).location.uri]
    report = ["report", *catalogue, "--set", "report.sound_mb=0", "-q", "--output"]
    assert cli.main([*report, str(tmp_path / "first")]) == 0
    chromium.problems.clear()
    chromium.open((tmp_path / "first/index.html").as_uri())
    before = chromium.run(NAMES)
    type_keys(chromium, "jyjnku")  # the first is confirmed, then unsure; the second is none and leaves the list
    chromium.wait(f"{ROWS}.length === 5")
    chromium.download("document.getElementById('verdicts-save').click()", tmp_path)
    saved = json.loads((tmp_path / "verdicts.json").read_text())["verdicts"]
    assert [one["verdict"] for one in saved] == ["unsure", "not a sample"]

    assert cli.main(["review", *catalogue, str(tmp_path / "verdicts.json"), "--who", "Ann"]) == 0
    assert cli.main([*report, str(tmp_path / "second")]) == 0
    chromium.open((tmp_path / "second/index.html").as_uri())
    assert chromium.run(NAMES) == [before[0], *before[2:]]
    assert chromium.run(f"{ROWS}[0].cells[8].textContent") == "unsure"
    assert chromium.run("document.getElementById('verdicts').hidden")  # the catalogue has them: no need to save again
    put(chromium, "filter-verdict", "not a sample")
    chromium.wait(f"{ROWS}.length === 1")
    assert chromium.run(NAMES) == [before[1]] and chromium.problems == []

    assert cli.main([*report, str(tmp_path / "third"), "--verdict", "unsure"]) == 0
    chromium.open((tmp_path / "third/index.html").as_uri())
    assert chromium.run(NAMES) == [before[0]]
    chromium.run("localStorage.clear()")
