"""Selects and reads the music for a benchmark, and recognises versions of one recording by file names."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
import torchaudio.functional as F

from asid_core.signal.decibels import level_db
from asid_core.signal.decode import DecodeError, open_native
from asid_core.signal.formats import AUDIO_SUFFIXES
from asid_core.synthetic.effects import Wave

log = logging.getLogger(__name__)

WORK_RATE_HZ = 22_050
MIN_LEVEL_DB = -50.0
MAX_TRACK_S = 150.0  # only the beginning of longer recordings is read
ALIKE_SHARE = 8  # one track in this many is held out to resemble the references


@dataclass(frozen=True)
class Divided:
    """Files by their role in a benchmark; no recording has two roles."""

    references: list[Path]
    backgrounds: list[Path]
    alike: list[Path]


def divided(
    corpus: Sequence[Path | str], backgrounds: Sequence[Path | str] | None, alike: bool, rng: np.random.Generator
) -> Divided:
    """Divide files into references, backgrounds (default: a third of the corpus) and, if `alike`, a few others.

    No reference is a variant of a background or another version of a reference, judging by file names.
    """
    files = audio_files(corpus)
    under = audio_files(backgrounds) if backgrounds is not None else held_out(files, rng)
    taken = {(p.parent, family(p)) for p in under}
    kept = one_of_each([p for p in files if p not in set(under) and (p.parent, family(p)) not in taken])
    if not alike:
        return Divided(kept, under, [])
    resembling = [kept[i] for i in sorted(rng.permutation(len(kept))[: max(1, len(kept) // ALIKE_SHARE)])]
    return Divided([p for p in kept if p not in set(resembling)], under, resembling)


def family(path: Path) -> str:
    """The first word of a file name, which variants of a theme share: `city_1`, `city_boss_finale` -> `city`."""
    words = re.split(r"[\s_\-.]+|(?<=[a-zA-Z])(?=\d)", path.stem.lower())
    return next((word for word in words if word), path.stem)


def recording(path: Path) -> str:
    """The part of a file name that versions of one recording share, without content tag, copy number, 'plus' or speed.

    `city_1__h66100d`, `city_1 (2)` -> `city_1`; `winning_plusplus` -> `winning`; `farm_fast`, `farm_f` -> `farm`. Only
    one of them may be a reference, because several would all be right answers to a query.
    """
    return re.sub(r"(__h[0-9a-f]{4,}|\s*\(\d+\)|[\s_-]*(plus)+|[\s_-](fast|slow|f))$", "", path.stem.lower())


def one_of_each(files: list[Path]) -> list[Path]:
    """The first version of each recording."""
    first = {(p.parent, recording(p)): p for p in reversed(files)}
    return sorted(first.values())


def audio_files(places: Iterable[Path | str]) -> list[Path]:
    """All audio files among files and below folders, sorted."""
    files: set[Path] = set()
    for place in map(Path, places):
        inside = [place] if place.is_file() else place.rglob("*")
        files.update(p for p in inside if p.suffix.lower() in AUDIO_SUFFIXES)
    return sorted(files)


def held_out(files: list[Path], rng: np.random.Generator) -> list[Path]:
    """About a third of the files; files with the same `family` stay together."""
    families = sorted({(p.parent, family(p)) for p in files})
    backgrounds: list[Path] = []
    for index in rng.permutation(len(families)):
        if len(backgrounds) >= len(files) / 3 or len(families) == 1:
            break
        backgrounds += [p for p in files if (p.parent, family(p)) == families[index]]
    return sorted(backgrounds)


def read_waves(files: Iterable[Path], min_s: float) -> Iterator[tuple[str, Wave]]:
    """Yield (unique name, waveform [n] at WORK_RATE_HZ) for the first MAX_TRACK_S seconds of each file.

    Files that are too short, silent or unreadable are left out with a warning.
    """
    names: set[str] = set()
    for path in files:
        try:
            wave = _read(path)
        except DecodeError as error:
            log.warning("leaving out %s: %s", path, error)
            continue
        seconds, loud_db = len(wave) / WORK_RATE_HZ, level_db(wave)
        if seconds < min_s or loud_db < MIN_LEVEL_DB:
            log.warning("leaving out %s: %.1f s at %.0f dB", path, seconds, loud_db)
            continue
        names.add(name := _unlike(names, re.sub(r"[^A-Za-z0-9]+", "_", f"{path.parent.name}_{path.stem}").strip("_")))
        yield name, wave


def write_wave(path: Path, wave: Wave, rate_hz: int) -> None:
    """Write a waveform [n] in 16 bit, clipped at full scale. Makes the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.clip(wave, -1, 1), rate_hz, subtype="PCM_16")


def _unlike(names: set[str], wanted: str) -> str:
    """`wanted`, with a number appended if it is already among `names`."""
    numbered = (f"{wanted}_{number}" for number in itertools.count(2))
    return next(name for name in itertools.chain([wanted], numbered) if name not in names)


def _read(path: Path) -> Wave:
    blocks, samples = [], 0
    with open_native(str(path)) as (info, native):
        for block in native:
            blocks.append(block)
            samples += len(block)
            if samples >= MAX_TRACK_S * info.rate_hz:
                break
        signal = np.concatenate(blocks)[: int(MAX_TRACK_S * info.rate_hz)]
        wave: Wave = F.resample(torch.from_numpy(signal), info.rate_hz, WORK_RATE_HZ).numpy()
    return wave
