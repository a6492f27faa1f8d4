"""What `linear` finds in held-out music: a benchmark made of three collections, and its score.

The music is not part of the repository: pixel-dungeon, neverball and openmusic, folders of that name. Dungeon themes
called halls_* and theme_* are the beds, the other tracks the references.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.results import write_section
from jobs import cli

FOLDERS = ("pixel-dungeon", "neverball", "openmusic")
BEDS = ("pixel-dungeon/halls_*", "pixel-dungeon/theme_*")
SEED, QUERIES = 0, 120
COMMAND = "make -C benchmarks quality MUSIC=path"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--music", metavar="DIR", type=Path, required=True, help=f"holds {', '.join(FOLDERS)}")
    parser.add_argument(
        "--bench", metavar="DIR", type=Path, default=Path("out/bench-quality"), help="kept between runs"
    )
    parser.add_argument("--weights", metavar="W", default="linear")
    parser.add_argument(
        "--queries", metavar="N", type=int, default=QUERIES, help=f"results are kept for {QUERIES} only"
    )
    args = parser.parse_args(argv)
    if not (args.bench / "truth.json").exists() and (code := make(args.music, args.bench, args.queries)):
        return code
    code, printed = captured(["bench", "run", "--bench", str(args.bench), "--weights", args.weights])
    print(printed)
    if code == 0 and args.queries == QUERIES:
        write_section(f"Quality of {Path(args.weights).name} on held-out music", COMMAND, body(printed))
    return code


def make(music: Path, bench: Path, queries: int) -> int:
    """The benchmark, always the same one; the exit code."""
    absent = [name for name in FOLDERS if not (music / name).is_dir()]
    if absent:
        print(f"no folder {absent[0]} in {music}: {COMMAND} needs {', '.join(FOLDERS)}", file=sys.stderr)
        return 2
    beds = [str(path) for pattern in BEDS for path in sorted(music.glob(pattern))]
    argv = ["bench", "make", "--corpus", *(str(music / name) for name in FOLDERS), "--beds", *beds]
    return cli.main([*argv, "--output", str(bench), "--seed", str(SEED), "--queries", str(queries)])


def captured(argv: Sequence[str]) -> tuple[int, str]:
    """Exit code and standard output of a verb."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = cli.main(list(argv))
    return code, out.getvalue()


def body(printed: str) -> str:
    """What the verb printed, its last line (the summary, with the seconds it took) as a paragraph."""
    *tables, summary = printed.strip().splitlines()
    return "\n".join(tables).strip() + f"\n\n{summary}"


if __name__ == "__main__":
    sys.exit(main())
