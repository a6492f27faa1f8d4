"""Fixtures: Chromium, and the report of the fake sweep opened in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from asid_core.config import Config
from pipelines.report.page import report
from pipelines.store.location import Location
from tests.pipelines import fake_sweep
from tests.pipelines.report import browser
from tests.pipelines.report.browser import Browser


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = tmp_path_factory.mktemp("report")
    report(fake_sweep.make(str(place / "cat")), Location(str(place / "out")), Config())
    return (place / "out" / "index.html").as_uri()


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if browser.CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with browser.chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture()
def opened(chromium: Browser, page: str) -> Iterator[Browser]:
    """The page, just opened. Fails if it reports problems or requests anything outside its folder."""
    chromium.problems.clear()
    chromium.requests.clear()
    chromium.look()
    chromium.open(page)
    yield chromium
    assert chromium.problems == []
    assert [url for url in chromium.requests if not url.startswith(("file:", "data:", "about:", "blob:"))] == []
    assert chromium.run("window.hacked") is None
