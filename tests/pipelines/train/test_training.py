"""Training on Ray Train: one run with two workers (40 s). Other tests run the loop without Ray."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asid_core.config import Config, GnnConfig, RerankerConfig, TrainingConfig, load
from asid_core.model.fingerprinter import Fingerprinter
from pipelines.train import encoder as module
from pipelines.train import training
from pipelines.train.encoder import fit_linear, train_encoder
from pipelines.train.reranker import train_reranker
from pipelines.train.stem_files import StemTables
from pipelines.train.stems import stems
from pipelines.train.training import TrainingError


def tiny() -> Config:
    config = load("gnn-paper")
    encoder = GnnConfig(channels=(8, 16), blocks=(1, 1), pooled_dim=16, hidden_dim=16, dim=8)
    settings = TrainingConfig(batch_pairs=4, steps=4, check_every=2, graph_blocks_start=0.5, warmup_steps=1)
    model = replace(config.model, name="tiny", encoder=encoder, reranker=RerankerConfig(heads=0))
    return replace(config, model=model, training=settings)


@pytest.fixture()
def tables(ray_session: Any, tmp_path: Path, audio: Callable[..., Path]) -> str:
    for seed in range(4):
        audio(f"music/{seed}.wav", seconds=31.0, seed=seed)
    output = str(tmp_path / "stems")
    assert stems(str(tmp_path / "music"), "mix", output, Config()).tracks == 4
    return output


@pytest.mark.ray
def test_two_workers_train_and_a_finished_run_does_nothing(
    tables: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    output = "trained"  # workers have other working folders
    done = train_encoder(tables, output, tiny(), workers=2)
    assert done.steps == 4 and not done.already and done.latest["step"] == 4
    assert 0 <= done.best["mrr"] <= 1 and done.best["score"] == done.best["mrr"]
    model = Fingerprinter.from_pretrained(Path(output) / "latest")
    assert model.config.model.encoder.graph_blocks  # type: ignore[union-attr]  # opened half-way
    assert (Path(output) / "best" / "model.safetensors").is_file()
    assert list((Path(output) / "tensorboard").iterdir())
    states = sorted(Path(output).glob("ray-encoder/checkpoint_*/state.pt"))
    assert states
    before = json.loads((Path(output) / "progress.json").read_text())
    assert train_encoder(tables, output, tiny(), workers=2).already
    assert json.loads((Path(output) / "progress.json").read_text()) == before
    more = replace(tiny(), training=replace(tiny().training, steps=6))
    with caplog.at_level("INFO", logger="pipelines"), monkeypatch.context() as patched:
        patched.setattr(training, "_fit", lambda *_: None)
        resumed = train_encoder(tables, output, more, workers=2)
    assert (resumed.steps, resumed.resumed_from) == (6, 4) and "resuming from step 4 of 6" in caplog.text
    with pytest.raises(TrainingError, match="another --output"):
        train_encoder(tables, output, load("gnn-paper"))
    with pytest.raises(TrainingError, match="reranker"):
        train_reranker(tables, output, tiny(), weights=f"{output}/best")


@pytest.mark.parametrize(
    ("gpus", "wanted", "answer"),
    [
        (2, False, True),
        (0, False, False),
        (0, True, "leave out --gpu"),
        (1, False, "--workers 1"),
        (1, True, "--workers 1"),
    ],
)
def test_gpus_that_are_not_there_are_told_and_not_replaced_by_cpus(
    gpus: int, wanted: bool, answer: bool | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 4.0, "GPU": float(gpus)})
    monkeypatch.setattr(training, "is_own_ray", lambda: True)
    if isinstance(answer, bool):
        assert training.uses_gpus(2, wanted) is answer
    else:
        with pytest.raises(TrainingError, match=answer):
            training.uses_gpus(2, wanted)


@pytest.mark.ray
def test_linear_is_fitted_without_training(tables: str, tmp_path: Path) -> None:
    config = load("linear", ["model.encoder.dim=16"])
    windows = fit_linear(tables, str(tmp_path / "linear"), config)
    assert windows > 16 * StemTables(tables).count(StemTables(tables).tracks) / 16
    model = Fingerprinter.from_pretrained(tmp_path / "linear" / "best")
    components = model.encoder.components
    assert components.shape[0] == 16  # type: ignore[index]


@pytest.mark.ray
def test_a_discriminant_is_fitted_to_pairs_of_tracks_that_are_not_held_out(
    tables: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAIRS_TO_FIT", 16)
    config = load("discriminant", ["model.encoder.dim=8", "training.batch_pairs=8", 'training.held_out=["0.wav"]'])
    assert module.fit_discriminant_encoder(tables, str(tmp_path / "fitted"), config) == 16
    model = Fingerprinter.from_pretrained(tmp_path / "fitted" / "best")
    assert model.reranker is None and model.config.score.rerank == 0  # that is trained later
    again = module.fit_discriminant_encoder(tables, str(tmp_path / "again"), config)
    assert again == 16 and model.model_id == Fingerprinter.from_pretrained(tmp_path / "again" / "best").model_id
    gains = load("gnn", ["model.encoder.channels=[8]", "model.encoder.blocks=[1]", "model.encoder.dim=8"])
    with pytest.raises(TrainingError, match="discriminant"):
        train_encoder(tables, str(tmp_path / "gnn"), gains)
