"""Converts rows of the stem tables (schema.stems) to batches of waveforms, and draws which stems are sampled."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from asid_core.learning.pairs import Batch
from asid_core.signal.pcm import from_pcm

# the paper's three groups: a bass line is seldom sampled alone
GROUPED = {"bass": "bass+other", "other": "bass+other"}


def to_batch(rows: pa.Table, samples: int, generator: np.random.Generator) -> Batch:
    """A batch with a random excerpt of `samples` samples of each row (schema.stems).

    If a row has several usable groups of stems, some of them are drawn as the sampled part, and the others are its
    rest. A row with one group is sampled whole. Raises ValueError for spans shorter than `samples`.
    """
    shortest = min(rows.column("num_samples").to_pylist())
    if shortest < samples:
        raise ValueError(
            f"spans of {shortest} samples are too short for windows that need {samples}; narrow "
            "training.augmentation.tempo_ratios"
        )
    sources, rests, stems, tracks = [], [], [], []
    for row in rows.to_pylist():
        source, rest = drawn_stems(row, samples, generator)
        sources.append(source)
        rests.append(np.zeros_like(source) if rest is None else rest)
        stems.append(rest is not None)
        tracks.append(track_number(row["track_id"]))
    return Batch(
        torch.from_numpy(np.stack(sources)),
        torch.from_numpy(np.stack(rests)),
        torch.tensor(stems),
        torch.tensor(tracks),
    )


def drawn_stems(
    row: dict[str, Any], samples: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray | None]:
    """The sampled part and the rest of a random excerpt, float32 [samples] each; None if there is no rest."""
    names = [key.removesuffix("_pcm") for key, value in row.items() if key.endswith("_pcm") and value is not None]
    start = int(generator.integers(row["num_samples"] - samples + 1))
    audio = {name: from_pcm(row[f"{name}_pcm"])[start : start + samples] for name in names}
    groups: dict[str, list[str]] = {}
    for name in names:
        if name in row["usable"]:
            groups.setdefault(GROUPED.get(name, name), []).append(name)
    chosen = set(names)
    if len(groups) > 1:
        keys = sorted(groups)
        count = int(generator.integers(1, len(keys)))
        chosen = {name for key in generator.permutation(keys)[:count] for name in groups[key]}
    left = sorted(set(names) - chosen)
    return _mixed([audio[name] for name in sorted(chosen)]), _mixed([audio[name] for name in left]) if left else None


def _mixed(stems: list[np.ndarray]) -> np.ndarray:
    return np.asarray(sum(stems), dtype=np.float32)


def track_number(track_id: str) -> int:
    """A 63-bit number that identifies a track."""
    return int.from_bytes(hashlib.blake2b(track_id.encode(), digest_size=8).digest(), "little") >> 1
