"""The benchmark of `make quality` among distractors: every other recording of the same music is a reference as well."""

from __future__ import annotations

import argparse
import sys
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
DISTRACTORS = "references/distractor_"  # begins the track ids of distractors


def folder_of(argv: Sequence[str] | None, about: str) -> Path | None:
    """The benchmark with distractors of a command line; None where `make quality` has not run, which stderr is told."""
    parser = argparse.ArgumentParser(description=about.split("\n\n")[0])
    parser.add_argument(
        "--music",
        metavar="DIR",
        type=Path,
        help="what `make quality` was given; none: it has distractors",
    )
    parser.add_argument("--bench", metavar="DIR", type=Path, default=BENCH, help="its benchmark")
    args = parser.parse_args(argv)
    if not is_made(args.bench):
        return None
    if args.music is None:
        return cast(Path, args.bench)
    place = beside(args.bench)
    with_distractors(args.bench, args.music, place)
    return place


def catalogue_of(bench: Path) -> Catalogue | None:
    """The catalogue of the benchmark with distractors; without one it says on stderr to run `make candidates`."""
    place = catalogue_in(beside(bench))
    if not place.is_dir():
        print(f"no catalogue in {place}: run `make -C benchmarks candidates` first", file=sys.stderr)
        return None
    return Catalogue(str(place))


def beside(bench: Path) -> Path:
    """Where the one with distractors of a benchmark is."""
    return bench.with_name(f"{bench.name}-distractors")


def catalogue_in(place: Path) -> Path:
    """Where a benchmark with distractors has its catalogue."""
    return place / f"catalogue-{WEIGHTS}"


def with_distractors(bench: Path, music: Path, place: Path) -> None:
    """A benchmark folder of links: the queries and references of `bench`, and all music that is none of its
    backgrounds.
    """
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


def swept(place: Path, count: int) -> tuple[Truth, SweepSummary]:
    """A sweep that verifies `count` references a query; its seconds are of the whole."""
    config = configs.load(WEIGHTS, [f"search.verify_tracks={count}"])
    catalogue = Catalogue(str(catalogue_in(place)), create=True, geometry=config.segment)
    return sweep_bench(place, catalogue, config, WEIGHTS)
