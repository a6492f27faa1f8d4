import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from asid_core.config import Config, GnnConfig, load
from asid_core.model.published import import_checkpoint
from asid_core.model.reranker import Reranker
from tests.asid_core.golden import ENCODER_FILE, FOLDER, RERANKER_FILE, TINY_CONFIG, difference, golden


@torch.no_grad()
def test_the_reranker_agrees_with_the_authors() -> None:
    reranker = import_checkpoint(ENCODER_FILE, RERANKER_FILE, TINY_CONFIG).reranker
    assert isinstance(reranker, Reranker)
    nodes = golden()["reranker.query_nodes"], golden()["reranker.reference_nodes"]
    assert difference(reranker(*nodes)[:, None], golden()["reranker.score"]) < 1e-4
    assert difference(reranker.logits(*nodes).sigmoid(), reranker(*nodes)) < 1e-6


@torch.no_grad()
def test_a_recording_gets_the_published_embeddings() -> None:
    model = import_checkpoint(ENCODER_FILE, RERANKER_FILE, TINY_CONFIG)
    result = model.fingerprint(golden()["audio"], nodes=True)
    assert result.nodes is not None
    assert difference(result.vectors, golden()["published.embedding"]) < 1e-4
    assert difference(result.nodes, golden()["published.nodes"]) < 1e-4


def full_size_files(folder: Path) -> tuple[Path, Path]:
    """Checkpoints with the published shapes and arbitrary values."""
    keys = json.loads((FOLDER / "published_checkpoint_keys.json").read_text())
    paths = folder / "encoder.pth", folder / "reranker.pth"
    for path, part in zip(paths, ("encoder_checkpoint", "reranker_checkpoint"), strict=True):
        state = {
            key: torch.tensor(7) if key.endswith("num_batches_tracked") else torch.rand(shape) * 0.1
            for key, shape in keys[part]["state_dict"].items()
        }
        torch.save({"epoch": 1, "state_dict": state} if part == "encoder_checkpoint" else state, path)
    return paths


def test_full_size_keys_load_whole(tmp_path: Path) -> None:
    encoder, reranker = full_size_files(tmp_path)
    model = import_checkpoint(encoder, reranker, load("gnn-paper"))
    given = torch.load(encoder, weights_only=True)["state_dict"]
    assert torch.equal(model.encoder.state_dict()["pool.weight"], given["encoder.proj.weight"].flatten(1))
    assert len(model.encoder.state_dict()) == len(given)
    assert not model.config.model.encoder.graph_blocks  # type: ignore[union-attr]
    assert model.fingerprint(torch.randn(40_000)).vectors.shape == (1, 128)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("module.projector.0.bias"), "missing project.0.bias"),
        (lambda s: s.update({"module.extra.weight": torch.zeros(1)}), "unexpected extra.weight"),
        (lambda s: s.update({"module.projector.2.bias": torch.zeros(5)}), r"projector.2.bias is \(5,\).*\(16,\)"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, change: object, message: str) -> None:
    content = torch.load(ENCODER_FILE, weights_only=True)
    change(content["state_dict"])  # type: ignore[operator]
    torch.save(content, tmp_path / "changed.pth")
    with pytest.raises(ValueError, match=message):
        import_checkpoint(tmp_path / "changed.pth", None, TINY_CONFIG)


def test_widths_and_stages_are_those_of_the_checkpoint() -> None:
    """The tiny checkpoint with the config of the full-size model."""
    model = import_checkpoint(ENCODER_FILE, RERANKER_FILE, load("gnn-paper"))
    assert isinstance(TINY_CONFIG.model.encoder, GnnConfig)
    assert model.config.model.encoder == replace(TINY_CONFIG.model.encoder, graph_blocks=False)
    assert model.config.model.reranker == TINY_CONFIG.model.reranker
    expected = import_checkpoint(ENCODER_FILE, RERANKER_FILE, TINY_CONFIG).weights()
    assert all(torch.equal(value, expected[name]) for name, value in model.weights().items())


def test_a_pipe_or_a_folder_is_no_checkpoint(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pth")
    (tmp_path / "folder.pth").mkdir()
    for name in ("pipe.pth", "folder.pth"):
        with pytest.raises(ValueError, match=f"{name} is not a regular file"):
            import_checkpoint(tmp_path / name, None, TINY_CONFIG)


def test_files_that_are_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("hello")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"model": TINY_CONFIG}, tmp_path / "pickled_code.pth")
    for name in ("text.pth", "list.pth", "pickled_code.pth"):
        with pytest.raises(ValueError, match=name):
            import_checkpoint(tmp_path / name, None, TINY_CONFIG)
    with pytest.raises(FileNotFoundError):
        import_checkpoint(tmp_path / "nothing.pth", None, TINY_CONFIG)


def test_without_a_reranker_file_there_is_none() -> None:
    assert import_checkpoint(ENCODER_FILE, None, TINY_CONFIG).reranker is None
    with pytest.raises(ValueError, match="gnn-paper"):
        import_checkpoint(ENCODER_FILE, None, replace(TINY_CONFIG, model=Config().model))
