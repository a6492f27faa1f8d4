"""The benchmark of `make quality` with distractors: every other recording of the same music is also a reference."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from asid_core import config as configs
from asid_core.evaluation.truth import Truth
from benchmarks.lib.quality_bench import BACKGROUNDS, BENCH, FOLDERS, is_made
from pipelines.evaluate import sweep_bench
from pipelines.search.sweep import SweepSummary
from pipelines.store.catalogue import Catalogue

WEIGHTS = "discriminant"
DISTRACTORS = "references/distractor_"  # prefix of the track ids of distractors


def folder_of(argv: Sequence[str] | None, about: str) -> Path | None:
    """The folder of the benchmark with distractors, as given on the command line.

    Prints to stderr and returns None if `make quality` has not been run.
    """
    parser = argparse.ArgumentParser(description=about.split("\n\n")[0])
    parser.add_argument(
        "--music",
        metavar="DIR",
        type=Path,
        help="the music of `make quality`; leave out if the benchmark already has distractors",
    )
    parser.add_argument("--bench", metavar="DIR", type=Path, default=BENCH, help="the benchmark")
    args = parser.parse_args(argv)
    if not is_made(args.bench):
        return None
    if args.music is None:
        return cast(Path, args.bench)
    place = beside(args.bench)
    with_distractors(args.bench, args.music, place)
    return place


def beside(bench: Path) -> Path:
    """The folder of the version with distractors of a benchmark."""
    return bench.with_name(f"{bench.name}-distractors")


def catalogue_in(place: Path) -> Path:
    """The folder of the catalogue of a benchmark with distractors."""
    return place / f"catalogue-{WEIGHTS}"


def with_distractors(bench: Path, music: Path, place: Path) -> None:
    """Make a benchmark of links to the queries and references of `bench`, and to all music but its backgrounds."""
    background_files = {path for pattern in BACKGROUNDS for path in music.glob(pattern)}
    others = [
        path
        for folder in sorted(music.iterdir())
        if folder.is_dir() and folder.name not in FOLDERS
        for path in sorted(folder.rglob("*.ogg"))
        if path not in background_files
    ]
    links = {place / name / path.name: path for name in ("queries", "references") for path in (bench / name).iterdir()}
    links |= {place / f"{DISTRACTORS}{path.parent.name}_{path.name}": path for path in others}
    for link, target in links.items():
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(target.resolve())
    (place / "truth.json").write_bytes((bench / "truth.json").read_bytes())


def swept(place: Path, settings: Sequence[str] = ()) -> tuple[Truth, SweepSummary]:
    """Sweep a benchmark with the default's config and these settings."""
    config = configs.load(WEIGHTS, settings)
    catalogue = Catalogue(str(catalogue_in(place)), create=True, geometry=config.segment)
    return sweep_bench(place, catalogue, config, WEIGHTS)
