"""The packages of music.csv and their roles in the wild benchmarks. A package is never split between roles."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

LIST = Path(__file__).parents[1] / "music.csv"


@dataclass(frozen=True)
class Parts:
    """The packages of a benchmark by role, its number of queries, and its seed."""

    references: tuple[str, ...]
    backgrounds: tuple[str, ...]
    distractors: tuple[str, ...]
    queries: int
    seed: int


RENDERED = "midi"  # no package: MIDI files rendered by benchmarks.midi_music
BACKGROUNDS = ("hedgewars-data", "marsshooter-data")
SPLITS = {
    "train": Parts(
        (
            "wesnoth-1.16-music", "warzone2100-music", "megaglest-data", "naev-data", "planetblupi-music-ogg",
            "asc-music", "fretsonfire-songs-sectoid", RENDERED,
        ),
        (*BACKGROUNDS, "singularity-music"),
        (),
        600,
        11,
    ),
    "dev": Parts(
        ("warzone2100-music", "megaglest-data"), ("singularity-music", "marsshooter-data"), ("naev-data",), 72, 2
    ),
    "validation": Parts(
        ("supertuxkart-data", "flare-game"), BACKGROUNDS, ("naev-data", "wesnoth-1.16-music"), 144, 1
    ),
    "test": Parts(
        ("widelands-data", "redeclipse-data"),
        BACKGROUNDS,
        ("naev-data", "wesnoth-1.16-music", "warzone2100-music", "megaglest-data", "asc-music"),
        240,
        3,
    ),
}  # fmt: skip


def missing(music: Path, split: str) -> list[str]:
    """The packages of a split that are missing in a folder."""
    parts = SPLITS[split]
    wanted = (*parts.references, *parts.backgrounds, *parts.distractors)
    return [name for name in wanted if not (music / name).is_dir()]


def split_of(path: Path = LIST) -> dict[str, str]:
    """Package -> split (train, validation or test)."""
    with path.open(newline="") as file:
        return {row["package"]: row["split"] for row in csv.DictReader(file)}
