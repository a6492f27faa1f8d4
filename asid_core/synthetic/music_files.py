"""The music that a benchmark is made from: which files, which of them are versions of one recording, their audio."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
import torchaudio.functional as F

from asid_core.evaluation.truth import AUDIO_SUFFIXES
from asid_core.signal.decode import DecodeError, open_native
from asid_core.synthetic import effects
from asid_core.synthetic.effects import Wave

log = logging.getLogger(__name__)

WORK_RATE_HZ = 22_050
MIN_LEVEL_DB = -50.0


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


def read_waves(files: Iterable[Path], min_s: float, max_s: float) -> Iterator[tuple[str, Wave]]:
    """(name, wave [n] at WORK_RATE_HZ) of each file, its first `max_s` seconds.

    A file that is too short, silent or unreadable is left out with a warning.
    """
    for path in files:
        try:
            wave = _read(path, max_s)
        except DecodeError as error:
            log.warning("left out %s: %s", path, error)
            continue
        seconds, level_db = len(wave) / WORK_RATE_HZ, effects.level_db(wave)
        if seconds < min_s or level_db < MIN_LEVEL_DB:
            log.warning("left out %s: %.1f s at %.0f dB", path, seconds, level_db)
            continue
        yield re.sub(r"[^A-Za-z0-9]+", "_", f"{path.parent.name}_{path.stem}").strip("_"), wave


def _read(path: Path, max_s: float) -> Wave:
    blocks, samples = [], 0
    with open_native(str(path)) as (info, native):
        for block in native:
            blocks.append(block)
            samples += len(block)
            if samples >= max_s * info.rate_hz:
                break
        signal = np.concatenate(blocks)[: int(max_s * info.rate_hz)]
        wave: Wave = F.resample(torch.from_numpy(signal), info.rate_hz, WORK_RATE_HZ).numpy()
    return wave
