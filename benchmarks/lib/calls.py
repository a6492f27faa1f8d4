"""Calls the command line, so that benchmarks measure what users run."""

from __future__ import annotations

import contextlib
import hashlib
import io
import shutil
from collections.abc import Sequence
from pathlib import Path

from jobs import cli

ROOT = Path(__file__).parents[2]
# code that determines fingerprints and detections; catalogues made by other code are deleted
DECISIVE = ("asid_core/*.py", "asid_core/signal", "asid_core/model", "asid_core/matching", "pipelines")


def forget_other_code(bench: Path, root: Path = ROOT) -> bool:
    """Delete a benchmark's catalogues unless the current code made them. Returns whether any were deleted."""
    mark, digest = bench / "code.txt", _code_digest(root)
    if mark.is_file() and mark.read_text() == digest:
        return False
    old = list(bench.glob("catalogue-*"))
    for catalogue in old:
        shutil.rmtree(catalogue)
    bench.mkdir(parents=True, exist_ok=True)
    mark.write_text(digest)
    return bool(old)


def _code_digest(root: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    files = {path for place in DECISIVE for found in root.glob(place) for path in [found, *found.rglob("*.py")]}
    for path in sorted(path for path in files if path.is_file()):
        digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def run_bench(bench: Path, weights: str, settings: Sequence[str], figures: Path) -> None:
    """Run `asid bench run` and write its figures to a file. Raises RuntimeError if it fails; it prints the reason."""
    argv = ["bench", "run", "--bench", str(bench), "--weights", weights, "--output", str(figures)]
    for setting in settings:
        argv += ["--set", setting]
    with contextlib.redirect_stdout(io.StringIO()):
        code = cli.main(argv)
    if code:
        raise RuntimeError(f"asid {' '.join(argv)} failed with exit code {code}")
