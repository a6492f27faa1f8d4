"""`asid fingerprint` and `asid import-weights`: files in, arrays or weights out."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from asid_core import config as configs
from asid_core.model.fingerprinter import Fingerprinter
from asid_core.plain_values import to_dict
from asid_core.signal.decode import decode
from jobs import cli

GOLDEN = Path(__file__).parents[1] / "golden"
SMALL = [
    "model.encoder.channels=[8,16,24,32]",
    "model.encoder.blocks=[1,1,1,1]",
    "model.encoder.pooled_dim=32",
    "model.encoder.hidden_dim=64",
    "model.encoder.dim=16",
]


def _saved(tmp_path: Path, name: str, assignments: list[str]) -> str:
    torch.manual_seed(0)
    Fingerprinter(configs.load(name, assignments)).eval().save(tmp_path / name)
    return str(tmp_path / name)


def test_arrays_of_several_files(
    tmp_path: Path, audio: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    weights = _saved(tmp_path, "linear", ["model.encoder.dim=8"])
    files = [str(audio("a.wav", 9.0)), str(audio("b.flac", 6.0, seed=3))]
    assert cli.main(["fingerprint", *files, "--output", str(tmp_path / "o" / "f.npz"), "--weights", weights]) == 0
    arrays = np.load(tmp_path / "o" / "f.npz")
    assert set(arrays.files) == {"file", "start_s", "embedding"}
    assert arrays["embedding"].shape == (len(arrays["start_s"]), 8) and arrays["start_s"].dtype == np.float64
    model = Fingerprinter.from_pretrained(weights)
    for file in files:
        expected = model.fingerprint(torch.from_numpy(np.concatenate(list(decode(file)))))
        mine = arrays["file"] == file
        np.testing.assert_allclose(arrays["start_s"][mine], expected.start_s.numpy())
        np.testing.assert_allclose(arrays["embedding"][mine], expected.vectors.numpy(), atol=1e-6)
    assert "2 files" in capsys.readouterr().out.splitlines()[-1]


def test_nodes_of_a_gnn(tmp_path: Path, audio: Callable[..., Path]) -> None:
    weights = _saved(tmp_path, "gnn-paper", SMALL)
    out = tmp_path / "f.npz"
    argv = [str(audio("a.wav", 5.0)), "--output", str(out), "--weights", weights, "--nodes"]
    assert cli.main(["fingerprint", *argv]) == 0
    arrays = np.load(out)
    assert arrays["nodes"].shape[:2] == (len(arrays["embedding"]), 32) and arrays["nodes"].ndim == 3


def test_asking_a_linear_model_for_nodes_is_an_error(
    tmp_path: Path, audio: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    weights = _saved(tmp_path, "linear", ["model.encoder.dim=8"])
    out = tmp_path / "f.npz"
    assert cli.main(["fingerprint", str(audio("a.wav")), "--output", str(out), "--weights", weights, "--nodes"]) == 1
    assert "Drop --nodes" in capsys.readouterr().err and not out.exists()


def test_one_bad_file_fails_the_run_but_not_the_others(
    tmp_path: Path, audio: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    weights = _saved(tmp_path, "linear", ["model.encoder.dim=8"])
    bad, out = tmp_path / "bad.mp3", tmp_path / "f.npz"
    bad.write_text("no music")
    argv = [str(bad), str(audio("a.wav", 5.0)), str(tmp_path / "gone.wav"), "--output", str(out), "--weights", weights]
    assert cli.main(["fingerprint", *argv]) == 1
    captured = capsys.readouterr()
    assert "bad.mp3: " in captured.err and "gone.wav: " in captured.err and "2 unreadable" in captured.out
    assert set(np.load(out)["file"]) == {str(tmp_path / "a.wav")}
    assert cli.main(["fingerprint", str(bad), "--output", str(tmp_path / "no.npz"), "--weights", weights]) == 1
    assert not (tmp_path / "no.npz").exists()


def test_the_tiny_published_checkpoint_is_imported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.asid_core.golden import TINY_CONFIG  # the config of the golden files

    (tmp_path / "tiny.json").write_text(json.dumps(to_dict(TINY_CONFIG)))
    argv = [str(GOLDEN / "published_format_tiny.pth"), "--output", str(tmp_path / "w")]
    argv += ["--reranker", str(GOLDEN / "published_format_tiny_reranker.pth")]
    assert cli.main(["import-weights", *argv, "--config", str(tmp_path / "tiny.json")]) == 0
    model = Fingerprinter.from_pretrained(tmp_path / "w")
    assert model.reranker is not None and model.model_id in capsys.readouterr().out


def test_a_checkpoint_that_does_not_fit_gives_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "x.pth"
    torch.save({"layer.weight": torch.zeros(3)}, other)
    assert cli.main(["import-weights", str(other), "--output", str(tmp_path / "w")]) == 1
    error = capsys.readouterr().err
    assert "does not fit the config" in error and "Traceback" not in error and not (tmp_path / "w").exists()
    assert cli.main(["import-weights", str(tmp_path / "gone.pth"), "--output", str(tmp_path / "w")]) == 1
