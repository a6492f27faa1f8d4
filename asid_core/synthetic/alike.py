"""Pairs of recordings that resemble each other without sampling, which a detector must not report.

Loops of one library share players, instruments and room. Two renderings of one MIDI file with unrelated sound fonts
share all notes, but no recording.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asid_core.signal.decibels import level_db
from asid_core.synthetic import music_files, renderings
from asid_core.synthetic.effects import Wave
from asid_core.synthetic.music_files import WORK_RATE_HZ

LENGTH_S = 60.0
LAYERS = 3  # loops that are mixed


@dataclass(frozen=True)
class Pair:
    """Two waveforms [n] at WORK_RATE_HZ, and the names of the loops in each."""

    query: Wave
    reference: Wave
    query_loops: frozenset[str] = frozenset()
    reference_loops: frozenset[str] = frozenset()


def in_turn(*sources: dict[str, Wave]) -> dict[str, Wave]:
    """All waveforms by name, alternating between the sources, so that the first few are of every kind."""
    rounds = itertools.zip_longest(*(source.items() for source in sources))
    return dict(item for items in rounds for item in items if item is not None)


def from_loops(folder: Path | str | None, seed: int, count: int) -> dict[str, Pair]:
    """`count` pairs of pieces mixed from different loops of one library, by name.

    The first word of a file name is the name of its library. Returns nothing if there is no folder or no library has at
    least 2 * LAYERS loops.
    """
    if folder is None:
        return {}
    libraries: dict[str, list[Path]] = {}
    for path in music_files.audio_files([folder]):
        libraries.setdefault(music_files.family(path), []).append(path)
    large = {name: files for name, files in sorted(libraries.items()) if len(files) >= 2 * LAYERS}
    pairs = {}
    for number, (name, files) in zip(range(count), itertools.cycle(large.items()), strict=False):
        rng = np.random.default_rng([seed, 4, number])
        chosen = [files[i] for i in rng.permutation(len(files))[: 2 * LAYERS]]
        query, reference = chosen[:LAYERS], chosen[LAYERS:]
        loops = (frozenset(path.name for path in some) for some in (query, reference))
        pairs[f"loops_{name}_{number}"] = Pair(_layered(query), _layered(reference), *loops)
    return pairs


def sharing(pairs: Mapping[str, Pair]) -> dict[str, tuple[str, ...]]:
    """Name of each pair -> the pairs whose reference has a loop of its query, and so does share a recording with it."""
    return {
        name: tuple(other for other, known in pairs.items() if pair.query_loops & known.reference_loops)
        for name, pair in pairs.items()
    }


def _layered(files: list[Path]) -> Wave:
    """The mix of the loops at equal levels, each repeated for LENGTH_S."""
    total = np.zeros(int(LENGTH_S * WORK_RATE_HZ), np.float32)
    for _, wave in music_files.read_waves(files, 0.2):
        total += np.resize(wave, len(total)) * np.float32(10 ** (-level_db(wave) / 20))
    return total * np.float32(0.9 / max(float(np.abs(total).max()), 1e-6))


def from_midi(folder: Path | str | None, seed: int, count: int) -> dict[str, Pair]:
    """`count` MIDI files of `folder`, each rendered with UNRELATED sound fonts, by name; nothing if there is no folder.

    Raises NotInstalled if FluidSynth or a sound font is missing.
    """
    if folder is None:
        return {}
    made = renderings.of_scores(folder, renderings.UNRELATED, seed, LENGTH_S)
    return {f"midi_{name}": Pair(query, other) for name, (query, other) in itertools.islice(made, count)}
