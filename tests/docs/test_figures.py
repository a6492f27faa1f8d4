"""Every quality figure on a page was written to benchmarks/RESULTS.md by a command."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.commands import PAGES, ROOT

FIGURE = re.compile(r"[01]\.\d{3} \[[01]\.\d{3}, [01]\.\d{3}\]")
RESULTS = ROOT / "benchmarks" / "RESULTS.md"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_stated_figures_are_in_results(page: Path) -> None:
    written = RESULTS.read_text()
    unknown = [figure for figure in FIGURE.findall(page.read_text()) if figure not in written]
    assert not unknown, f"{page.name} states {unknown}: run `make -C benchmarks quality` and bring the page up to date"


def test_readme_states_figures() -> None:
    assert len(FIGURE.findall((ROOT / "README.md").read_text())) >= 3


def test_sections_name_the_command_that_wrote_them() -> None:
    sections = re.split(r"^## ", RESULTS.read_text(), flags=re.M)[1:]
    assert all(re.search(r"^`[^`]+`, \d{4}-\d\d-\d\d$", section, re.M) for section in sections)


def test_images_in_results_exist() -> None:
    for link in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", RESULTS.read_text()):
        assert (RESULTS.parent / link).is_file(), link
