"""Window retrieval: does an encoder find the original of a transformed window, and does the reranker recognise it?

Measured as in the validation of training (asid_core.learning), but on chosen or held-out music.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from asid_core.config import AugmentationConfig
from asid_core.learning.baseline import encoder_task
from asid_core.learning.loop import Loop, validation_pairs
from asid_core.learning.pairs import Batch
from asid_core.learning.spans import track_number
from asid_core.learning.tasks import RerankerTask
from asid_core.model.fingerprinter import Fingerprinter
from asid_core.signal.decode import decode
from asid_core.signal.formats import AUDIO_SUFFIXES

WINDOWS, BATCH, SEED = 256, 64, 0
# pitch +-4 semitones, tempo 0.72 to 1.4, background at -14 to +6 dB; no probes are used
HARD = AugmentationConfig(
    semitones=4.0, tempo_ratios=(0.72, 1.4), together=True, offset_s=0.27, background_db=(-14.0, 6.0),
    equaliser_db=12.0,
    low_cut_hz=300.0, high_cut_hz=3000.0, reverb_s=0.5, compression=0.4, codec_db=45.0,
)  # fmt: skip


SAYS = (
    "each compared with all others; pitch within 4 semitones, tempo 0.72 to 1.4, background at -14 to +6 dB, "
    "filters, reverb, compression. AUC: the true pair against its 3 hardest negatives. No probes, no alignment."
)


def is_trained(model: Fingerprinter) -> bool:
    """Whether a model was trained by gradient descent; a projection is fitted instead."""
    return not model.config.model.encoder.is_fitted


def retrieval(weights: str, folders: Sequence[Path]) -> dict[str, float]:
    """`hr1` and `mrr` of WINDOWS windows; with a reranker, also `auc` of pairs against their hardest negatives."""
    torch.manual_seed(SEED)
    model = Fingerprinter.from_pretrained(weights)
    training = replace(model.config.training, objective="paper", augmentation=HARD, seed=SEED)
    task = encoder_task(model, training)
    loop = Loop(task, training, 1, 1e-4)
    samples = loop.spectra.cut_samples(max(HARD.tempo_ratios), HARD.offset_s)
    pairs = validation_pairs(_batches(folders, samples), loop)
    validated = task.validate(pairs)
    figures = {"hr1": validated["hr1"], "mrr": validated["mrr"]}
    if model.reranker is not None:
        figures["auc"] = RerankerTask(model, model.config.training).validate(pairs)["auc"]
    return figures


def _batches(folders: Sequence[Path], samples: int) -> list[Batch]:
    """Batches of excerpts of recordings; deterministic."""
    rng = np.random.default_rng(SEED)
    files = sorted(p for folder in folders for p in folder.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
    recordings = [(path, audio) for path in files if len(audio := np.concatenate(list(decode(str(path))))) >= samples]
    excerpts, tracks = [], []
    for index in rng.integers(0, len(recordings), WINDOWS):
        path, audio = recordings[index]
        start = int(rng.integers(0, len(audio) - samples + 1))
        excerpts.append(torch.from_numpy(audio[start : start + samples]))
        tracks.append(track_number(path.name))
    sources, track = torch.stack(excerpts), torch.tensor(tracks)
    none = torch.zeros(WINDOWS, dtype=torch.bool)
    parts = (column.split(BATCH) for column in (sources, torch.zeros_like(sources), none, track))
    return [Batch(*columns) for columns in zip(*parts, strict=True)]


def table(weights: Sequence[str], folders: Mapping[str, Sequence[Path]]) -> str:
    """A Markdown table with one row per model and kind of music."""
    lines = ["| model | music | HR@1 | MRR | reranker AUC |", "|---|---|---|---|---|"]
    for name in weights:
        for title, places in folders.items():
            figures = retrieval(name, places)
            auc = f"{figures['auc']:.3f}" if "auc" in figures else "-"
            lines.append(f"| {Path(name).name} | {title} | {figures['hr1']:.3f} | {figures['mrr']:.3f} | {auc} |")
    return "\n".join(lines) + "\n"
