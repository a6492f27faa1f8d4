"""Measures quality on the wild benchmark: ten kinds of sampling that producers use, on held-out packages of music.

`make -C benchmarks music` downloads the music. Settings are chosen on the split `validation`; the split `test` is for
one final measurement.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from asid_core.evaluation.truth import read_truth
from benchmarks.lib.music import RENDERED, SPLITS, missing
from benchmarks.lib.results import write_section
from benchmarks.lib.shared import ignoring, listed
from benchmarks.lib.systems import BACKWARDS, System, scored
from jobs import cli
from pipelines.evaluate import comparison

MUSIC = Path("out/music")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--split", choices=tuple(SPLITS), default="validation")
    parser.add_argument("--music", metavar="DIR", type=Path, default=MUSIC, help="music downloaded by music.sh")
    parser.add_argument("--bench", metavar="DIR", type=Path, help="kept between runs (default: out/bench-wild-SPLIT)")
    parser.add_argument("--midi", metavar="DIR", help="MIDI files, for queries that only resemble a reference")
    parser.add_argument("--loops", metavar="DIR", help="loop libraries, for the same purpose")
    parser.add_argument("--weights", metavar="W", nargs="*", default=["discriminant"], help="none: only make it")
    args = parser.parse_args(argv)
    bench = args.bench or Path(f"out/bench-wild-{args.split}")
    if not (bench / "truth.json").exists() and (code := make(args, bench)):
        return code
    command = f"make -C benchmarks wild-{args.split}"
    for weights in args.weights:
        system = scored(System(Path(weights).name, Path(weights).name, weights, BACKWARDS), bench)
        text = f"{system.reports['all'].to_markdown()}\n{comparison(system.reports, 'stage')}"
        print(text)
        write_section(f"Wild benchmark, {args.split}, {system.name}", command, text)
    return 0


def make(args: argparse.Namespace, bench: Path) -> int:
    """Make the benchmark of the split, and return the exit code."""
    if absent := missing(args.music, args.split):
        command = f"make -C benchmarks {'wild-train MIDI=path' if absent[0] == RENDERED else 'music'}"
        print(f"no folder {absent[0]} in {args.music}. First run `{command}`.", file=sys.stderr)
        return 2
    parts = SPLITS[args.split]
    argv = ["--kinds", "wild", "--seed", str(parts.seed), "--queries", str(parts.queries), "--output", str(bench)]
    for option, packages in (
        ("--corpus", parts.references),
        ("--backgrounds", parts.backgrounds),
        ("--distractors", parts.distractors),
    ):
        argv += [option, *(str(args.music / name) for name in packages)] if packages else []
    for option, folder in (("--midi", args.midi), ("--loops", args.loops)):
        argv += [option, folder] if folder else []
    if code := cli.main(["bench", "make", *argv]):
        return code
    place = bench / "truth.json"
    truth = ignoring(read_truth(place), listed())
    place.write_text(json.dumps(json.loads(place.read_text()) | {"truth": truth.to_dict()}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
