"""The music that a benchmark is made from: which files, which of them are versions of one recording, their audio."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torchaudio.functional as F

from asid_core.signal.decode import DecodeError, open_native
from asid_core.signal.formats import AUDIO_SUFFIXES
from asid_core.synthetic import effects
from asid_core.synthetic.effects import Wave

log = logging.getLogger(__name__)

WORK_RATE_HZ = 22_050
MIN_LEVEL_DB = -50.0
MAX_TRACK_S = 150.0  # of a recording; the rest of it is not read
ALIKE_SHARE = 8  # one track in so many is held out to resemble the references


@dataclass(frozen=True)
class Divided:
    """Files by their part in a benchmark; no recording has two parts."""

    references: list[Path]
    backgrounds: list[Path]
    alike: list[Path]


def divided(
    corpus: Sequence[Path | str], backgrounds: Sequence[Path | str] | None, alike: bool, rng: np.random.Generator
) -> Divided:
    """Backgrounds, or about a third of the corpus without them; if `alike`, a few tracks; the rest are references.

    No reference is a variant of a background or another version of a reference, as names tell.
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
    """What variants of one theme share: the name's first word, `city_1__h66100d`, `city_boss_finale` -> `city`."""
    words = re.split(r"[\s_\-.]+|(?<=[a-zA-Z])(?=\d)", path.stem.lower())
    return next((word for word in words if word), path.stem)


def recording(path: Path) -> str:
    """What versions of one recording share: the name without a content tag, copy number, 'plus', or other speed.

    `city_1__h66100d`, `city_1 (2)` -> `city_1`; `winning_plusplus` -> `winning`; `farm_fast`, `farm_f` -> `farm`. As
    references two of them would both be right answers to one query.
    """
    return re.sub(r"(__h[0-9a-f]{4,}|\s*\(\d+\)|[\s_-]*(plus)+|[\s_-](fast|slow|f))$", "", path.stem.lower())


def one_of_each(files: list[Path]) -> list[Path]:
    first = {(p.parent, recording(p)): p for p in reversed(files)}
    return sorted(first.values())


def audio_files(places: Iterable[Path | str]) -> list[Path]:
    found: set[Path] = set()
    for place in map(Path, places):
        inside = [place] if place.is_file() else place.rglob("*")
        found.update(p for p in inside if p.suffix.lower() in AUDIO_SUFFIXES)
    return sorted(found)


def held_out(files: list[Path], rng: np.random.Generator) -> list[Path]:
    """About a third of the files, whole families."""
    families = sorted({(p.parent, family(p)) for p in files})
    backgrounds: list[Path] = []
    for index in rng.permutation(len(families)):
        if len(backgrounds) >= len(files) / 3 or len(families) == 1:
            break
        backgrounds += [p for p in files if (p.parent, family(p)) == families[index]]
    return sorted(backgrounds)


def read_waves(files: Iterable[Path], min_s: float) -> Iterator[tuple[str, Wave]]:
    """(name, wave [n] at WORK_RATE_HZ) of each file, its first MAX_TRACK_S seconds. No name comes twice.

    A file that is too short, silent or unreadable is left out with a warning.
    """
    names: set[str] = set()
    for path in files:
        try:
            wave = _read(path)
        except DecodeError as error:
            log.warning("left out %s: %s", path, error)
            continue
        seconds, level_db = len(wave) / WORK_RATE_HZ, effects.level_db(wave)
        if seconds < min_s or level_db < MIN_LEVEL_DB:
            log.warning("left out %s: %.1f s at %.0f dB", path, seconds, level_db)
            continue
        names.add(name := _unlike(names, re.sub(r"[^A-Za-z0-9]+", "_", f"{path.parent.name}_{path.stem}").strip("_")))
        yield name, wave


def _unlike(names: set[str], wanted: str) -> str:
    """`wanted`, or with the first number that makes it a new name: folders `music` of two packages may share names."""
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
