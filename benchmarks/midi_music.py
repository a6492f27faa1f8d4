"""Renders MIDI files with three sound fonts each: music for the training of the reranker.

A query samples one rendering; the other two play the same notes at the same time and must not be found.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from asid_core.synthetic import renderings
from asid_core.synthetic.music_files import WORK_RATE_HZ, write_wave
from asid_core.synthetic.studio import NotInstalled

FONTS = (renderings.FLUID, renderings.MUSESCORE, renderings.TIMGM)
LEAST_S = 60.0
SCORES = 50


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--midi", metavar="DIR", required=True, help="MIDI files")
    parser.add_argument("--output", metavar="DIR", type=Path, default=Path("out/music/midi"))
    args = parser.parse_args(argv)
    shutil.rmtree(args.output, ignore_errors=True)  # it may hold renderings of other files
    try:
        for name, waves in itertools.islice(renderings.of_scores(args.midi, FONTS, 0, LEAST_S), SCORES):
            for font, wave in zip(FONTS, waves, strict=True):
                write_wave(args.output / font.stem / f"{name}.flac", wave, WORK_RATE_HZ)
    except NotInstalled as error:
        print(error, file=sys.stderr)
        return 2
    if not args.output.exists():
        print(f"no MIDI file of {LEAST_S:.0f} s or more in {args.midi}. Is this the right folder?", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
