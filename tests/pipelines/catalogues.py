"""Small catalogues made without Ray, and models that are small enough for them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from asid_core.config import (
    Config,
    GnnConfig,
    LinearConfig,
    LogFrequencyConfig,
    LogMelConfig,
    ModelConfig,
    RerankerConfig,
    SegmentConfig,
)
from asid_core.model.fingerprinter import Fingerprinter
from asid_core.schema import TRACKS
from asid_core.signal.pcm import cut, to_pcm
from pipelines.store import detections
from pipelines.store.catalogue import Catalogue
from pipelines.store.pairs import as_tuples
from pipelines.store.segments import SegmentWriter

# 40,960 samples: a multiple of 512 and 640; the margin of 41,760 is a multiple of neither hop
CUT = SegmentConfig(core_s=2.56, margin_s=2.61, commit_tracks=2)
LINEAR = Config(
    segment=CUT,
    model=ModelConfig("small", LogFrequencyConfig(window_frames=40), LinearConfig(dim=64)),
)
GNN = Config(
    segment=CUT,
    model=ModelConfig(
        "small-gnn",
        LogMelConfig(window_frames=32),
        GnnConfig(channels=(8, 16), blocks=(1, 1), k=3, pooled_dim=16, hidden_dim=32, dim=16),
        RerankerConfig(heads=2),
    ),
)


def save_model(config: Config, folder: Path, seed: int = 0) -> str:
    """Save random weights of `config` in `folder`.

    A random projection preserves angles well enough to find equal audio.
    """
    torch.manual_seed(seed)
    model = Fingerprinter(config).eval()
    if config.model.encoder.is_fitted:
        projection = model.encoder.projection()
        projection.copy_(torch.linalg.qr(torch.randn(*projection.shape[::-1]))[0].T)
    model.save(folder)
    return str(folder)


def melody(seconds: float, seed: int) -> np.ndarray:
    """Float32 [n] at 16 kHz: one chord every 0.2 s; another seed gives other chords."""
    rng = np.random.default_rng(seed)
    note = 3200
    t = np.arange(note) / 16_000
    notes = []
    for _ in range(-(-round(seconds * 16_000) // note)):
        hertz = 110 * 2 ** (rng.integers(0, 48, 3) / 12)
        tones = sum(np.sin(2 * np.pi * f * h * t) / h for f in hertz for h in (1, 2, 3))
        notes.append(0.1 * tones * np.exp(-6 * t))
    return np.concatenate(notes)[: round(seconds * 16_000)].astype(np.float32)


def make_catalogue(uri: str, waveforms: dict[str, np.ndarray], part: str = "a", tracks_per_part: int = 2) -> Catalogue:
    """Add tracks of float32 [n] at 16 kHz to the catalogue at `uri`, `tracks_per_part` of them per part file."""
    catalogue = Catalogue(uri, create=True, geometry=CUT)
    rows, names = [], sorted(waveforms)
    for start in range(0, len(names), tracks_per_part):
        file = f"segments/test/part-{part}{start}.parquet"
        with SegmentWriter(catalogue.location.join(file)) as writer:
            for name in names[start : start + tracks_per_part]:
                pcm = to_pcm(waveforms[name])
                segments = list(cut([pcm], catalogue.geometry.core_samples, catalogue.geometry.margin_samples))
                for segment in segments:
                    writer.add(name, segment)
                rows.append(
                    {
                        "track_id": name,
                        "uri": f"/{name}",
                        "content_hash": hashlib.blake2b(pcm.tobytes(), digest_size=16).hexdigest(),
                        "size_bytes": pcm.nbytes,
                        "duration_s": len(pcm) / 16_000,
                        "num_segments": len(segments),
                        "segment_files": [f"segments/test/{writer.part.name}"],
                        "run_id": "test",
                    }
                )
    with catalogue.writing("test"):
        catalogue.commit_tracks(pa.Table.from_pylist(rows, schema=TRACKS))
    return catalogue


def live_of(catalogue: Catalogue) -> dict[str, str]:
    """track_id -> content_hash of the live tracks."""
    return dict(as_tuples(catalogue.live()))


def newest_sweep(catalogue: Catalogue) -> str | None:
    """Id of the newest sweep that ended, or None."""
    return next((head["sweep_id"] for head in reversed(detections.sweeps(catalogue))), None)
