"""The ResNet-IBN baseline uses the same tables, index, sweep and trainer as the other models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from asid_core.config import (
    AugmentationConfig,
    Config,
    CqtConfig,
    ModelConfig,
    ResnetIbnConfig,
    ScoreConfig,
    SearchConfig,
    TrainingConfig,
)
from asid_core.model.fingerprinter import Fingerprinter
from pipelines.fingerprint.embed import embed
from pipelines.search.index import index
from pipelines.search.sweep import sweep
from pipelines.store import fingerprints
from pipelines.train.encoder import train_encoder
from pipelines.train.stems import stems
from tests.conftest import write_audio
from tests.pipelines.catalogues import CUT, make_catalogue, melody, save_model

pytestmark = pytest.mark.ray
RESNET = Config(
    segment=CUT,
    model=ModelConfig(
        "small-resnet",
        CqtConfig(bins=48, f_min_hz=110.0, window_frames=80, window_hop_frames=20),
        ResnetIbnConfig(blocks=(1, 1), width=4, classes=8),
    ),
    search=SearchConfig(hits_per_window=10),
    score=ScoreConfig(threshold=0.0),
    training=TrainingConfig(
        batch_pairs=4,
        steps=2,
        check_every=1,
        warmup_steps=1,
        augmentation=AugmentationConfig(tempo_ratios=(0.9, 1.1)),
    ),
)


def save_normed(folder: Path) -> str:
    """Save random weights with batch norms adapted to music. Without that, all music gets nearly the same vector."""
    model = Fingerprinter.from_pretrained(save_model(RESNET, folder))
    windows = model.front_end.windows(model.features(torch.from_numpy(melody(30.0, 99))[None])[0])[::20]
    for norm in model.encoder.modules():
        if isinstance(norm, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            norm.momentum = 1.0
    model.encoder.train()(windows)
    model.save(folder)
    return str(folder)


def test_a_random_one_finds_an_exact_copy(ray_session: Any, tmp_path: Path) -> None:
    """From second 3, `user` plays seconds 4 to 10 of `source`, over silence."""
    waveforms = {f"other {n}": melody(9.0 + n, n) for n in range(4)}
    waveforms["source"], waveforms["user"] = melody(14.0, 10), melody(12.0, 11)
    waveforms["user"][48_000:144_000] = waveforms["source"][64_000:160_000]
    catalogue, weights = make_catalogue(str(tmp_path / "c"), waveforms), save_normed(tmp_path / "w")
    embed(catalogue, RESNET, weights)
    index(catalogue, RESNET)
    model = Fingerprinter.from_pretrained(weights)
    table = catalogue.table(fingerprints.table_name(model.model_id))
    assert table is not None and table.schema.field("vector").type == pa.list_(pa.float32(), 32)
    found = sweep(catalogue, RESNET, weights, queries="user").detections.to_pylist()
    best = max(found, key=lambda row: row["score"])
    assert best["reference_id"] == "source" and best["rerank_score"] is None
    assert best["reference_start_s"] - best["query_start_s"] == pytest.approx(1.0, abs=0.2)
    assert best["verify_score"] > 0.5


def test_it_trains_on_ray_train(ray_session: Any, tmp_path: Path) -> None:
    for seed in range(3):
        wave = melody(31.0, seed)
        write_audio(tmp_path / "music" / f"{seed}.wav", np.asarray(wave)[:, None], 16_000)
    tables = str(tmp_path / "stems")
    stems(str(tmp_path / "music"), "mix", tables, Config())
    done = train_encoder(tables, str(tmp_path / "trained"), replace(RESNET, segment=Config().segment))
    assert done.steps == 2 and 0 <= done.best["mrr"] <= 1
    model = Fingerprinter.from_pretrained(tmp_path / "trained" / "best")
    assert model.config.model == RESNET.model
