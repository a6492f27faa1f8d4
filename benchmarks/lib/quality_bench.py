"""The benchmark of `make quality`, made from three collections of music, always with the same queries.

The music is not part of the repository: folders pixel-dungeon, neverball and openmusic. The files halls_* and theme_*
of pixel-dungeon are the backgrounds, the other tracks the references.
"""

from __future__ import annotations

import sys
from pathlib import Path

from jobs import cli

FOLDERS = ("pixel-dungeon", "neverball", "openmusic")
BACKGROUNDS = ("pixel-dungeon/halls_*", "pixel-dungeon/theme_*")
SEED, QUERIES = 0, 120
BENCH = Path("out/bench-quality")
COMMAND = "make -C benchmarks quality MUSIC=path"


def is_made(bench: Path, command: str = COMMAND) -> bool:
    """Whether `bench` exists. If not, prints to stderr which command to run first."""
    made = (bench / "truth.json").exists()
    if not made:
        print(f"no benchmark in {bench}. First run `{command}`.", file=sys.stderr)
    return made


def make(music: Path, bench: Path, queries: int) -> int:
    """Make the benchmark, and return the exit code."""
    absent = [name for name in FOLDERS if not (music / name).is_dir()]
    if absent:
        print(f"no folder {absent[0]} in {music}. {COMMAND} needs {', '.join(FOLDERS)}.", file=sys.stderr)
        return 2
    backgrounds = [str(path) for pattern in BACKGROUNDS for path in sorted(music.glob(pattern))]
    argv = ["bench", "make", "--corpus", *(str(music / name) for name in FOLDERS), "--backgrounds", *backgrounds]
    return cli.main([*argv, "--output", str(bench), "--seed", str(SEED), "--queries", str(queries)])
