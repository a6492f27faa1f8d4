"""Compares the waveforms of the tracks in shared_recordings.csv: do they really share a recording?

Prints the greatest normalised cross-correlation of 4 s of one track with any 4 s of the other, at the same speed: 1 for
the same recording, less if other music plays as well.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torchaudio.functional as F
from scipy.signal import fftconvolve

from asid_core.synthetic.effects import Wave
from asid_core.synthetic.music_files import WORK_RATE_HZ, audio_files, read_waves
from benchmarks.lib.shared import listed

RATE_HZ = 8000
PASSAGE_S = 4


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--music", metavar="DIR", type=Path, default=Path("out/music"))
    args = parser.parse_args(argv)
    for pair in listed():
        waves = (waveform(args.music / pair.package, pair.track), waveform(args.music / pair.other_package, pair.other))
        print(f"{pair.track} {pair.other} {correlation(*waves):.3f}")
    return 0


def waveform(package: Path, name: str) -> Wave:
    """The track of that name in a package, at RATE_HZ. Raises FileNotFoundError."""
    for path in audio_files([package]):
        if name.lower() in (path.stem.lower(), f"{path.parent.name}_{path.stem}".lower()):
            wave = torch.from_numpy(next(read_waves([path], PASSAGE_S))[1])
            return np.asarray(F.resample(wave, WORK_RATE_HZ, RATE_HZ))
    raise FileNotFoundError(f"no track {name} in {package}. First run `make -C benchmarks music`.")


def correlation(one: Wave, other: Wave) -> float:
    """The greatest normalised cross-correlation, 0..1, of a passage of `one` [n] with any place of `other` [m]."""
    length = PASSAGE_S * RATE_HZ
    energy = np.convolve(other.astype(np.float64) ** 2, np.ones(length), "valid")
    best = 0.0
    for start in range(0, len(one) - length + 1, length):
        passage = one[start : start + length].astype(np.float64)
        norms = np.sqrt(np.maximum(energy, energy.max() / 1e4) * (passage**2).sum())
        best = max(best, float(np.abs(fftconvolve(other, passage[::-1], "valid") / np.maximum(norms, 1e-9)).max()))
    return best


if __name__ == "__main__":
    sys.exit(main())
