"""A benchmark with exact truth, made from any folder of music.

References are tracks of the corpus; queries are new: a cut of a reference, transformed, over a background of music
by another
track. Tracks used as backgrounds are never references, nor is a reference ever a variant of a background (as file
names tell).
"""

from __future__ import annotations

import csv
import json
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
import torchaudio.functional as F

from asid_core.evaluation.sample100 import MADE_GROUPS
from asid_core.evaluation.truth import AUDIO_SUFFIXES, Query, Relation, Truth
from asid_core.synthetic import effects, synthesis
from asid_core.synthetic.effects import Wave

log = logging.getLogger(__name__)

WORK_RATE_HZ = 22_050
OUT_RATE_HZ = 16_000
MIN_REFERENCE_S = 12.0
MIN_BACKGROUND_S = 30.0
# of every five queries: one untouched, one changed a little, two a lot, one that samples nothing
TIER_CYCLE = ("hard", "exact", "hard", "mild", "none")


def make_bench(
    corpus: Path | str | Sequence[Path | str],
    output_dir: Path | str,
    seed: int = 0,
    queries: int = 100,
    references: int | None = None,
    backgrounds: Sequence[Path | str] | None = None,
) -> Truth:
    """Write `references/`, `queries/` (16 kHz mono FLAC), `truth.json` and Sample100-style annotations to `output_dir`.

    `corpus` and `backgrounds` are folders or files; without `backgrounds` about a third of the corpus, whole
    families of names, is
    held out for them. The same seed and files give the same benchmark. Tiers: `exact` cut 4 to 9 s, untouched, once to
    three times, no background or background at -12 dB; `mild` pitch or stretch, background at -12 dB; `hard` pitch
    within 3 semitones and
    stretch 0.78..1.3, filter, reverb and compression drawn, looped 2 to 4 times, background at 0 or -6 dB; `none`
    background alone.
    Raises ValueError where there is too little music, FileExistsError where `output_dir` holds a benchmark already.
    """
    output = Path(output_dir)
    if (output / "truth.json").exists():
        raise FileExistsError(f"{output} holds a benchmark already; remove it or choose another folder")
    rng = np.random.default_rng(seed)
    files = _audio_files([corpus] if isinstance(corpus, str | Path) else corpus)
    background_files = _audio_files(backgrounds) if backgrounds is not None else _held_out(files, rng)
    taken = {(p.parent, family(p)) for p in background_files}
    kept = _one_of_each([p for p in files if p not in set(background_files) and (p.parent, family(p)) not in taken])
    background_waves = _read_all(background_files, MIN_BACKGROUND_S)
    tracks = _read_all(kept, MIN_REFERENCE_S)
    if references is not None:
        chosen = rng.permutation(len(tracks))[:references]
        tracks = {name: tracks[name] for i, name in enumerate(list(tracks)) if i in set(chosen.tolist())}
    if not tracks or not background_waves:
        raise ValueError(
            f"too little music: {len(tracks)} references of {MIN_REFERENCE_S:.0f} s and {len(background_waves)} "
            f"backgrounds of {MIN_BACKGROUND_S:.0f} s; give more files, or files to `backgrounds`"
        )
    for name, wave in tracks.items():
        _write(output / "references" / f"{name}.flac", wave)
    made = _make_queries(tracks, background_waves, output / "queries", seed, queries)
    truth = Truth(tuple(q for q, _ in made), tuple(tracks), tuple(r for _, r in made if r is not None))
    _write_annotations(output, truth)
    summary = {"seed": seed, "backgrounds": sorted(background_waves), "truth": truth.to_dict()}
    (output / "truth.json").write_text(json.dumps(summary, indent=1))
    log.info(
        "benchmark: %d references, %d queries, %d backgrounds in %s",
        len(tracks),
        queries,
        len(background_waves),
        output,
    )
    return truth


def family(path: Path) -> str:
    """What variants of one theme share: the name's first word, `city_1__h66100d`, `city_boss_finale` -> `city`."""
    words = re.split(r"[\s_\-.]+|(?<=[a-zA-Z])(?=\d)", path.stem.lower())
    return next((word for word in words if word), path.stem)


def recording(path: Path) -> str:
    """What versions of one recording share: the name without a content tag, copy number or 'plus'.

    `city_1__h66100d`, `city_1 (2)` -> `city_1`; `winning_plusplus` -> `winning`. As references two of them would both
    be right answers to one query.
    """
    return re.sub(r"(__h[0-9a-f]{4,}|\s*\(\d+\)|[\s_-]*(plus)+)$", "", path.stem.lower())


def _one_of_each(files: list[Path]) -> list[Path]:
    first = {(p.parent, recording(p)): p for p in reversed(files)}
    return sorted(first.values())


def _audio_files(places: Iterable[Path | str]) -> list[Path]:
    found: set[Path] = set()
    for place in map(Path, places):
        inside = [place] if place.is_file() else place.rglob("*")
        found.update(p for p in inside if p.suffix.lower() in AUDIO_SUFFIXES)
    return sorted(found)


def _held_out(files: list[Path], rng: np.random.Generator) -> list[Path]:
    """About a third of the files, whole families."""
    families = sorted({(p.parent, family(p)) for p in files})
    backgrounds: list[Path] = []
    for index in rng.permutation(len(families)):
        if len(backgrounds) >= len(files) / 3 or len(families) == 1:
            break
        backgrounds += [p for p in files if (p.parent, family(p)) == families[index]]
    return sorted(backgrounds)


def _read_all(files: list[Path], least_s: float) -> dict[str, Wave]:
    """Name -> waveform at WORK_RATE_HZ. What is too short, silent or unreadable is left out, with a warning."""
    waves: dict[str, Wave] = {}
    for path in files:
        try:
            data, rate = soundfile.read(path, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            log.warning("left out %s: %s", path, error)
            continue
        mono = torch.from_numpy(data.mean(axis=1))
        wave = F.resample(mono, rate, WORK_RATE_HZ).numpy()
        if len(wave) < least_s * WORK_RATE_HZ or effects.level_db(wave) < -50:
            log.warning("left out %s: %.1f s at %.0f dB", path, len(wave) / WORK_RATE_HZ, effects.level_db(wave))
            continue
        waves[re.sub(r"[^A-Za-z0-9]+", "_", f"{path.parent.name}_{path.stem}").strip("_")] = wave
    return waves


def _make_queries(
    tracks: dict[str, Wave], backgrounds: dict[str, Wave], folder: Path, seed: int, count: int
) -> list[tuple[Query, Relation | None]]:
    """Each query from its own generator, so that asking for more queries leaves the first ones as they were."""
    order = np.random.default_rng([seed, 1]).permutation(len(tracks))
    background_order = np.random.default_rng([seed, 2]).permutation(len(backgrounds))
    result: list[tuple[Query, Relation | None]] = []
    sampled = 0
    for index in range(count):
        rng = np.random.default_rng([seed, 3, index])
        name, tier = f"q{index:04d}", TIER_CYCLE[index % len(TIER_CYCLE)]
        background_name = list(backgrounds)[background_order[index % len(backgrounds)]]
        background = _background(backgrounds[background_name], rng)
        if tier == "none":
            query, relation, wave = (
                Query(name, len(background) / WORK_RATE_HZ, {"tier": tier, "background": background_name}),
                None,
                background,
            )
        else:
            reference = list(tracks)[order[sampled % len(tracks)]]
            sampled += 1
            query, relation, wave = _sampling_query(
                name, tier, reference, tracks[reference], background_name, background, rng
            )
        _write(folder / f"{name}.flac", wave)
        result.append((query, relation))
    return result


def _background(track: Wave, rng: np.random.Generator) -> Wave:
    """30 to 60 s of a track, a place that is not silent."""
    length = min(int(rng.uniform(30, 60) * WORK_RATE_HZ), len(track))
    start = synthesis.find_cut(track, length, rng, WORK_RATE_HZ) or 0
    return track[start : start + length].copy()


def _sampling_query(
    name: str, tier: str, reference: str, track: Wave, background_name: str, background: Wave, rng: np.random.Generator
) -> tuple[Query, Relation, Wave]:
    recipe = synthesis.draw_recipe(tier, rng)
    length = int(recipe.cut_s * WORK_RATE_HZ)
    start = synthesis.find_cut(track, length, rng, WORK_RATE_HZ) or 0
    made = synthesis.make_query(
        track, start, None if recipe.background_db is None else background, recipe, WORK_RATE_HZ, rng
    )
    groups = {
        "tier": tier,
        "background": background_name if recipe.background_db is not None else "",
        "background_db": "none" if recipe.background_db is None else f"{recipe.background_db:g}",
        "effects": json.dumps(made.effects),
    }
    relation = Relation(
        name,
        reference,
        made.occurrences,
        recipe.tempo_ratio,
        recipe.pitch_semitones,
        synthesis.same_elsewhere(track, start, length, WORK_RATE_HZ),
        groups,
    )
    return Query(name, len(made.wave) / WORK_RATE_HZ, groups), relation, made.wave


def _write(path: Path, wave: Wave) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    resampled = F.resample(torch.from_numpy(wave), WORK_RATE_HZ, OUT_RATE_HZ).numpy()
    soundfile.write(path, np.clip(resampled, -1, 1), OUT_RATE_HZ, subtype="PCM_16")


def _write_annotations(output: Path, truth: Truth) -> None:
    """The layout of Sample100-ext (samples.csv, tracks.csv, annotations/), so that its readers read this as well.

    With more columns: what is read from them is the truth whole, and gives the same figures.
    """
    rows: list[dict[str, Any]] = []
    (output / "annotations").mkdir(parents=True, exist_ok=True)
    for number, r in enumerate(truth.relations, 1):
        sample_id = f"S{number:04d}"
        spans = [asdict(o) for o in r.occurrences]
        annotation = {
            "query_time_annotations": [
                {"start_time": s["query_start_s"], "end_time": s["query_end_s"], "id": 1} for s in spans
            ],
            "target_time_annotations": [
                {"start_time": spans[0]["reference_start_s"], "end_time": spans[0]["reference_end_s"], "id": 1}
            ],
            "target_track_id": r.reference,
            "query_track_id": r.query,
            "sample_id": sample_id,
        }
        (output / "annotations" / f"{sample_id}.json").write_text(json.dumps(annotation))
        rows.append(
            {
                "sample_id": sample_id,
                "target_track_id": r.reference,
                "query_track_id": r.query,
                "t_target": int(spans[0]["reference_start_s"]),
                "t_query": int(spans[0]["query_start_s"]),
                "n_repetitions": len(spans),
                "estimated_tempo_ratio": r.tempo_ratio,
                "target_instruments": "",
                "query_interfering_instruments": "",
                "sample_type": "riff",
                "interpolation": "no",
                "comments": "",
                "pitch_semitones": r.pitch_semitones,
                "equivalent_starts_s": " ".join(map(str, r.equivalent_starts_s)),
                **{name: r.groups[name] for name in MADE_GROUPS},
            }
        )
    _write_csv(output / "samples.csv", rows)
    roles = {**dict.fromkeys(truth.references, "reference"), **dict.fromkeys((q.name for q in truth.queries), "query")}
    unknown = {"artist": "", "year": "", "genre": ""}
    _write_csv(output / "tracks.csv", [{"track_id": n, "title": n, **unknown, "role": r} for n, r in roles.items()])


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else ["sample_id"])
        writer.writeheader()
        writer.writerows(rows)
