"""Windows of references, and candidates of the coarse search as rows, without a catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asid_core.config import SAMPLE_RATE_HZ
from asid_core.matching.align import Candidate
from asid_core.model.fingerprinter import Fingerprinter
from asid_core.signal.decode import decode
from asid_core.signal.windows import padded_to_window, window_starts


@dataclass(frozen=True)
class References:
    """The windows of all references, in order.

    vectors: unit vectors [m, dim]. tracks: index of the track of each window [m]. centres_s: centres in seconds [m].
    """

    names: list[str]
    vectors: Tensor
    tracks: np.ndarray
    centres_s: np.ndarray


def features(model: Fingerprinter, path: Path) -> Tensor:
    """Features [F, T] of a recording, padded to at least one window."""
    waveform = torch.from_numpy(np.concatenate(list(decode(str(path)))))
    return model.features(padded_to_window(model.config.model.front_end, waveform, 0)[None])[0]


def reference_windows(model: Fingerprinter, paths: Sequence[Path]) -> References:
    """Fingerprint all references."""
    vectors, tracks, centres = [], [], []
    for index, path in enumerate(paths):
        track_features = features(model, path)
        starts = window_starts(model.config.model.front_end, track_features.shape[1])
        vectors.append(model.encode(track_features, starts)[0])
        tracks.append(np.full(len(starts), index, np.int32))
        centres.append(starts.numpy() * model.hop_samples / SAMPLE_RATE_HZ + model.window_s / 2)
    return References([p.name for p in paths], torch.cat(vectors), np.concatenate(tracks), np.concatenate(centres))


def as_rows(query: str, names: Sequence[str], candidates: Sequence[Candidate]) -> list[dict[str, Any]]:
    """Candidates as rows with the columns of schema.DETECTIONS that an evaluation needs."""
    spans = ("query_start_s", "query_end_s", "reference_start_s", "reference_end_s")
    return [
        {
            "query_id": query,
            "reference_id": names[c.reference],
            "score": c.coarse_score,
            "tempo_ratio": c.tempo_ratio,
            "pitch_semitones": c.pitch_semitones,
            "direction": None,
        }
        | {name: getattr(c.span, name) for name in spans}
        for c in candidates
    ]
