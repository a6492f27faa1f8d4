"""Makes a benchmark with exact truth from any folder of music.

References are tracks of the corpus. A query is a transformed passage of a reference, mixed with a background of other
music. Backgrounds are never references, and no reference is a variant of a background, judging by file names.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torchaudio.functional as F

from asid_core.evaluation.truth import Query, Relation, Truth
from asid_core.synthetic import alike, music_files, queries
from asid_core.synthetic.annotations import write_annotations
from asid_core.synthetic.effects import Wave
from asid_core.synthetic.kinds import WILD
from asid_core.synthetic.music_files import WORK_RATE_HZ

log = logging.getLogger(__name__)

OUT_RATE_HZ = 16_000
MIN_REFERENCE_S, MIN_BACKGROUND_S = 12.0, 30.0
# of every five queries: one unchanged, one slightly changed, two strongly changed, one that samples nothing
TEXTBOOK = ("hard", "exact", "hard", "mild", "none")
NOTHING = ("none", "none_alike")
MIN_ALIKE, QUERIES_PER_ALIKE = 6, 40  # pairs of each sort for kind none_alike: at least, and one for so many queries
KINDS = {"textbook": TEXTBOOK, "wild": (*WILD, *NOTHING), "all": (*TEXTBOOK, *WILD, *NOTHING)}


def make_bench(
    corpus: Path | str | Sequence[Path | str],
    output_dir: Path | str,
    seed: int = 0,
    queries_wanted: int = 100,
    references: int | None = None,
    backgrounds: Sequence[Path | str] | None = None,
    distractors: Sequence[Path | str] = (),
    kinds: Sequence[str] = ("textbook",),
    midi: Path | str | None = None,
    loops: Path | str | None = None,
) -> Truth:
    """Write `references/`, `queries/` (16 kHz mono FLAC), `truth.json` and Sample100-style annotations to `output_dir`.

    corpus, backgrounds, distractors: folders or files. Without `backgrounds`, about a third of the corpus is used for
    them, keeping tracks with the same first word together. Distractors are references that no query samples. The same
    seed and files give the same benchmark.

    kinds: names in `KINDS`, in `synthetic.kinds.WILD`, or of textbook tiers. `exact`: a passage of 4 to 9 s, unchanged.
    `mild`: pitch or tempo changed, background at -12 dB. `hard`: pitch within 3 semitones and tempo 0.78 to 1.3, with
    filter, reverb and compression, looped, background at 0 or -6 dB. `none`: background alone. `none_alike`: resembles
    references without sampling them: a track of the same folder; with `midi`, another rendering of the same MIDI file;
    with `loops`, other loops of the same library (see `synthetic.alike`).

    Raises ValueError for too little music or an unknown kind, FileExistsError if `output_dir` holds a benchmark.
    """
    output = Path(output_dir)
    if (output / "truth.json").exists():
        raise FileExistsError(f"{output} already holds a benchmark. Delete it or choose another folder.")
    cycle = expanded(kinds)
    rng = np.random.default_rng(seed)
    places = [corpus] if isinstance(corpus, str | Path) else corpus
    files = music_files.divided(places, backgrounds, NOTHING[1] in cycle, rng)
    waves = dict(music_files.read_waves(files.backgrounds, MIN_BACKGROUND_S))
    resembling = dict(music_files.read_waves(files.alike, MIN_BACKGROUND_S))
    tracks = _chosen(dict(music_files.read_waves(files.references, MIN_REFERENCE_S)), references, rng)
    if not tracks or not waves or (files.alike and not resembling):
        raise ValueError(
            f"too little music: {len(tracks)} references of {MIN_REFERENCE_S:.0f} s and {len(waves)} "
            f"backgrounds of {MIN_BACKGROUND_S:.0f} s. Pass more files, or use --backgrounds."
        )
    count = max(MIN_ALIKE, queries_wanted // QUERIES_PER_ALIKE)
    pairs = (
        {**alike.from_loops(loops, seed, count), **alike.from_midi(midi, seed, count)} if NOTHING[1] in cycle else {}
    )
    resembling = alike.in_turn(resembling, {name: pair.query for name, pair in pairs.items()})
    others = {f"alike_{name}": pair.reference for name, pair in pairs.items()}
    for name, wave in {**tracks, **others}.items():
        _write(output / "references" / f"{name}.flac", wave)
    for name, wave in music_files.read_waves(music_files.audio_files(distractors), MIN_REFERENCE_S):
        _write(output / "references" / f"distractor_{name}.flac", wave)
    made: list[tuple[Query, Relation | None]] = []
    shared = alike.sharing(pairs)
    for query, relation, wave in queries.make(tracks, waves, resembling, cycle, seed, queries_wanted):
        _write(output / "queries" / f"{query.name}.flac", wave)
        ignored = tuple(f"alike_{name}" for name in shared.get(query.groups["background"], ()))
        made.append((replace(query, ignored=ignored), relation))
    truth = Truth(tuple(q for q, _ in made), tuple(tracks), tuple(r for _, r in made if r is not None))
    write_annotations(output, truth)
    summary = {"seed": seed, "kinds": cycle, "backgrounds": sorted(waves), "truth": truth.to_dict()}
    (output / "truth.json").write_text(json.dumps(summary, indent=1))
    log.info("benchmark: %d references, %d queries, %d backgrounds in %s", len(tracks), len(made), len(waves), output)
    return truth


def expanded(kinds: Sequence[str]) -> tuple[str, ...]:
    """Expand names in KINDS to single kinds, in order. Raises ValueError for an unknown name."""
    known = {*TEXTBOOK, *WILD, *NOTHING}
    unknown = [name for name in kinds if name not in known and name not in KINDS]
    if unknown or not kinds:
        names = ", ".join([*KINDS, *sorted(known)])
        raise ValueError(f"unknown kind {unknown[0] if unknown else ''!r}; use {names}")
    return tuple(one for name in kinds for one in KINDS.get(name, (name,)))


def _chosen(tracks: dict[str, Wave], count: int | None, rng: np.random.Generator) -> dict[str, Wave]:
    if count is None:
        return tracks
    chosen = set(rng.permutation(len(tracks))[:count].tolist())
    return {name: wave for i, (name, wave) in enumerate(tracks.items()) if i in chosen}


def _write(path: Path, wave: Wave) -> None:
    resampled = F.resample(torch.from_numpy(wave), WORK_RATE_HZ, OUT_RATE_HZ).numpy()
    music_files.write_wave(path, resampled, OUT_RATE_HZ)
