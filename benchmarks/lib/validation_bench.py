"""The wild validation benchmark, on which settings are chosen."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.lib.quality_bench import is_made

BENCH = Path("out/bench-wild-validation")
COMMAND = "make -C benchmarks wild-validation"


def folder_of(argv: Sequence[str] | None, about: str) -> Path | None:
    """The benchmark's folder, as given on the command line. Prints to stderr and returns None if it is not made."""
    parser = argparse.ArgumentParser(description=about.split("\n\n")[0])
    parser.add_argument("--bench", metavar="DIR", type=Path, default=BENCH, help="a wild benchmark with distractors")
    bench: Path = parser.parse_args(argv).bench
    return bench if is_made(bench, COMMAND) else None
