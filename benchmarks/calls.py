"""The command line, called from here: benchmarks measure what users run."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path

from jobs import cli


def captured(argv: Sequence[str]) -> tuple[int, str]:
    """Exit code and standard output of a verb."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = cli.main(list(argv))
    return code, out.getvalue()


def run_bench(bench: Path, weights: str, settings: Sequence[str], figures: Path) -> None:
    """`asid bench run`, its figures to a file. Raises RuntimeError where it failed: it has said why."""
    argv = ["bench", "run", "--bench", str(bench), "--weights", weights, "--output", str(figures)]
    for setting in settings:
        argv += ["--set", setting]
    code, _ = captured(argv)
    if code:
        raise RuntimeError(f"asid {' '.join(argv)} ended with {code}")
