"""Packs the recordings of stem tables for `train_packed`: Opus files with whole tracks, of about equal length."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from asid_core.learning.spans import track_number
from benchmarks.lib.packed_spans import pack
from pipelines.train.stem_files import StemTables

COMMAND = "python -m benchmarks.pack_spans STEMS OUTPUT"
FILES = 48


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stems", metavar="STEMS", help="made by asid stems, from recordings without stems")
    parser.add_argument("output", metavar="OUTPUT", type=Path)
    args = parser.parse_args(argv)
    args.output.mkdir(parents=True, exist_ok=True)
    if any(args.output.iterdir()):
        parser.error(f"{args.output} is not empty; training would read the files that are there, too")
    spans = {name: int(about["spans"]) for name, about in StemTables(args.stems).tracks.items() if about["spans"]}
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        groups = divided(spans)
        for packed in pool.map(partial(_packed, args.stems, args.output), range(len(groups)), groups):
            print(packed, flush=True)
    return 0


def divided(spans: dict[str, int]) -> list[list[str]]:
    """The tracks of each of FILES files, fewer if there are fewer tracks. Each gets about as many spans.

    spans: number by track.
    """
    files: list[list[str]] = [[] for _ in range(FILES)]
    held = [0] * FILES
    for name in sorted(spans, key=lambda name: (-spans[name], track_number(name))):
        least = held.index(min(held))
        files[least].append(name)
        held[least] += spans[name]
    return [names for names in files if names]


def _packed(stems: str, output: Path, number: int, names: list[str]) -> Path:
    """The file of number `number`, with all spans of the tracks `names`."""
    file = output / f"s{number:02d}.ogg"
    rows = [row for table in StemTables(stems).batches(names) for row in table.to_pylist()]
    if any(row.get("mix_pcm") is None for row in rows):
        raise ValueError("recordings with stems cannot be packed")
    pack(file, [row["track_id"] for row in rows], (np.frombuffer(row["mix_pcm"], "<i2") for row in rows))
    return file


if __name__ == "__main__":
    sys.exit(main())
