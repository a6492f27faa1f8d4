"""Reads the commands out of README and docs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "cluster" / "README.md"]
BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.S | re.M)  # of any language, so that fences stay paired
SHELL = ("", "sh", "bash")
SPAN = re.compile(r"`((?:asid|make|docker|kubectl|ray) [^`]+)`", re.S)


def blocks(page: Path) -> Iterator[list[list[str]]]:
    """The words of each command in each shell block. Continued lines are joined, comments dropped."""
    for language, text in BLOCK.findall(page.read_text("utf-8")):
        if language in SHELL:
            lines = text.replace("\\\n", " ").splitlines()
            yield [words for words in (shlex.split(line, comments=True) for line in lines) if words]


def spans(page: Path) -> list[list[str]]:
    """The words of each inline command."""
    return [shlex.split(" ".join(text.split())) for text in SPAN.findall(page.read_text("utf-8"))]
