"""Fingerprints from segments are those of whole tracks; running again, being killed, and changed tracks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from asid_core.config import Config, SegmentConfig
from asid_core.model.fingerprinter import Fingerprinter
from asid_core.plain_values import ConfigError
from asid_core.signal.pcm import from_pcm, to_pcm
from asid_core.signal.windows import level_db, padded_to_window, window_starts
from pipelines.fingerprint.embed import embed, gpus_to_use
from pipelines.fingerprint.embed_actor import Rows, inference_type
from pipelines.store import fingerprints
from pipelines.store.audio import Segment
from pipelines.store.catalogue import Catalogue, CatalogueError
from pipelines.store.pairs import as_tuples
from tests.pipelines.catalogues import CUT, GNN, LINEAR, make_catalogue, melody, save_model
from tests.pipelines.ingest.test_segment import snapshot

pytestmark = pytest.mark.ray
LENGTHS = {"a": 9.3, "b": 2.56, "c": 0.4, "d/e": 5.12, "f": 12.0}  # cut inside, at a cut, shorter than a window


def waves() -> dict[str, np.ndarray]:
    return {name: melody(seconds, seed) for seed, (name, seconds) in enumerate(LENGTHS.items())}


@pytest.mark.parametrize(
    ("config", "asked", "is_own", "used"),
    [
        (LINEAR, None, True, 0),
        (LINEAR, 4, False, 0),
        (GNN, None, True, 2),
        (GNN, 1, True, 1),
        (GNN, 0, True, 0),
        (GNN, 4, False, 4),
        (GNN, 4, True, None),
    ],
)
def test_networks_use_gpus_and_ask_an_autoscaler_for_more(
    monkeypatch: pytest.MonkeyPatch, config: Config, asked: int | None, is_own: bool, used: int | None
) -> None:
    monkeypatch.setattr("pipelines.driver.gpus", lambda: 2)
    monkeypatch.setattr("pipelines.fingerprint.embed.is_own_ray", lambda: is_own)
    if used is None:
        with pytest.raises(ConfigError, match="4 GPUs are asked for, but this machine has 2"):
            gpus_to_use(Fingerprinter(config), asked)
    else:
        assert gpus_to_use(Fingerprinter(config), asked) == used


def table(catalogue: Catalogue, weights: str) -> dict[str, dict[str, Any]]:
    """Rows of the fingerprint table by id."""
    found = catalogue.table(fingerprints.table_name(Fingerprinter.from_pretrained(weights).model_id))
    assert found is not None
    rows = found.to_table().to_pylist()
    assert len({row["fingerprint_id"] for row in rows}) == len(rows)
    return {row["fingerprint_id"]: row for row in rows}


@pytest.mark.parametrize("segment", [replace(CUT, margin_s=1.5), replace(CUT, core_s=2.5)])
def test_a_catalogue_whose_segments_do_not_hold_the_windows_is_refused(tmp_path: Path, segment: SegmentConfig) -> None:
    """Windows of another default, 1.6 s with 640 samples per frame, would be lost or changed."""
    catalogue = Catalogue(str(tmp_path / "c"), create=True, geometry=segment)
    with pytest.raises(CatalogueError, match="1.6 s .* 640 samples.* new catalogue"):
        embed(catalogue, LINEAR, save_model(LINEAR, tmp_path / "w"))


@pytest.mark.parametrize("config", [LINEAR, GNN], ids=["linear", "gnn"])
def test_fingerprints_are_those_of_whole_tracks_and_made_once(ray_session: Any, tmp_path: Path, config: Config) -> None:
    weights = save_model(config, tmp_path / "w")
    waveforms = waves() | {"quiet": np.zeros(64_000, np.float32)}
    catalogue = make_catalogue(str(tmp_path / "c"), waveforms)
    events: list[dict[str, Any]] = []
    summary = embed(catalogue, config, weights, events.append)
    assert (summary.tracks, summary.already, summary.not_finite) == (6, 0, 0)
    assert str(summary).startswith("6 tracks embedded")
    assert events[-1] == {"stage": "embed", "done": 6, "total": 6, "audio_s": pytest.approx(summary.audio_s)}
    rows = table(catalogue, weights)
    assert summary.windows == len(rows) and summary.audio_s == pytest.approx(sum(LENGTHS.values()) + 4)
    model = Fingerprinter.from_pretrained(weights)
    front = model.config.model.front_end
    number_type = inference_type(model)
    encoder = model.for_inference(number_type)
    error = 1e-4 if number_type == torch.float32 else 5e-3  # bfloat16 rounds differently in other batches
    for name, waveform in waveforms.items():
        mine = [row for row in rows.values() if row["track_id"] == name]
        audio = torch.from_numpy(from_pcm(to_pcm(waveform)))
        features = model.features(padded_to_window(front, audio, 0)[None])[0]
        first = window_starts(front, features.shape[1])
        assert [row["window_index"] for row in mine] == list(range(len(first))) and len(first)  # and in order
        vectors = np.array([row["vector"] for row in mine])
        np.testing.assert_allclose(vectors, encoder.encode(features, first)[0].numpy(), atol=error)
        assert np.isfinite(vectors).all() and (np.abs(vectors).sum(1) > 0).all() == (name != "quiet")
        expected = [i * model.hop_s for i in range(len(first))]
        assert [row["start_s"] for row in mine] == pytest.approx(expected)
        np.testing.assert_allclose([row["level_db"] for row in mine], level_db(front, audio, first), atol=1e-3)
    before = snapshot(tmp_path / "c")
    again = embed(catalogue, config, weights)
    assert (again.tracks, again.already, again.windows) == (0, 6, 0)
    assert str(again).startswith("nothing to embed")
    assert snapshot(tmp_path / "c") == before


def test_changed_and_new_tracks_only_and_two_models_side_by_side(ray_session: Any, tmp_path: Path) -> None:
    weights, other = save_model(LINEAR, tmp_path / "w"), save_model(LINEAR, tmp_path / "x", seed=1)
    make_catalogue(str(tmp_path / "c"), waves())
    catalogue = Catalogue(str(tmp_path / "c"))
    embed(catalogue, LINEAR, weights)
    first = table(catalogue, weights)
    make_catalogue(str(tmp_path / "c"), {"a": melody(6.0, 77), "new": melody(4.0, 78)}, part="b")
    summary = embed(catalogue, LINEAR, weights)
    assert (summary.tracks, summary.already) == (2, 4)
    rows = table(catalogue, weights)
    assert {(row["track_id"], row["content_hash"]) for row in rows.values()} == set(as_tuples(catalogue.live()))
    kept = {key: row for key, row in first.items() if row["track_id"] != "a"}
    assert {key: rows[key] for key in kept} == kept
    assert embed(catalogue, LINEAR, other).tracks == 6
    assert set(table(catalogue, other)) == set(rows) and table(catalogue, weights) == rows


def test_not_finite_vectors_become_zero() -> None:
    model = Fingerprinter(LINEAR).eval()
    components = model.encoder.components
    assert isinstance(components, torch.Tensor)
    components[3] = torch.inf
    rows = Rows(model, {"t": "ab" * 16})
    segment = Segment("t", 0, 0, 40_960, torch.from_numpy(melody(3.0, 1)))
    (batch,) = rows.of(iter([segment]))
    assert rows.not_finite == batch.num_rows > 0
    assert set(batch.column("vector").flatten().to_pylist()) == {0.0}


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    weights = save_model(LINEAR, tmp_path / "w")
    catalogue = make_catalogue(str(tmp_path / "c"), {})
    with pytest.raises(ConfigError, match="Drop --config"):
        embed(catalogue, replace(LINEAR, model=GNN.model), weights)


KILLED = """
import os, signal, sys
import ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
from pipelines.store.catalogue import Catalogue, CatalogueError
from pipelines.fingerprint.embed import embed
from tests.pipelines.catalogues import LINEAR
catalogue = Catalogue(sys.argv[2])
def progress(event):
    if event["done"] >= 3:
        os.kill(os.getpid(), signal.SIGKILL)
embed(catalogue, LINEAR, sys.argv[3], progress)
"""


def test_a_killed_driver_is_started_again_and_ends_the_same(ray_session: Any, tmp_path: Path) -> None:
    weights = save_model(LINEAR, tmp_path / "w")
    killed = make_catalogue(str(tmp_path / "killed"), waves())
    clean = make_catalogue(str(tmp_path / "clean"), waves())
    address = ray_session.get_runtime_context().gcs_address
    command = [sys.executable, "-c", KILLED, address, str(tmp_path / "killed"), weights]
    root = Path(__file__).parents[3]
    ended = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120, env=os.environ)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert {row["track_id"] for row in table(killed, weights).values()} < set(LENGTHS)
    summary = embed(killed, LINEAR, weights)
    assert summary.already >= 2 and summary.tracks == 5 - summary.already
    embed(clean, LINEAR, weights)
    assert table(killed, weights) == table(clean, weights)
