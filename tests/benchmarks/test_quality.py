import json
from pathlib import Path

import pytest

from asid_core.evaluation.truth import Query, Truth
from benchmarks import quality
from benchmarks.lib import audfprint, speed


def test_without_the_music_it_says_which_folder_is_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(speed, "idle", lambda: False)
    (tmp_path / "pixel-dungeon").mkdir()
    assert quality.main(["--music", str(tmp_path), "--bench", str(tmp_path / "b")]) == 2
    assert "no folder neverball in" in capsys.readouterr().err


def test_audfprint_is_left_out_with_a_line_where_it_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audfprint, "program", lambda: None)
    assert quality.with_audfprint(tmp_path) == (
        [],
        "audfprint is left out, because it is not installed.",
    )


def test_audfprint_stands_in_the_table_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = Truth((Query("q0", 30.0),), ("r0",), ())
    (tmp_path / "truth.json").write_text(json.dumps({"truth": truth.to_dict()}))
    monkeypatch.setattr(audfprint, "program", lambda: "/usr/bin/audfprint")
    monkeypatch.setattr(audfprint, "detections", lambda *_: audfprint.parsed([]))
    (system,), said = quality.with_audfprint(tmp_path)
    assert system.name == "audfprint, 4 shifts" and system.reports["all"].num_queries == 1
    assert said == "audfprint was run as the external program `audfprint`."


def test_only_trained_models_are_held_window_against_window(tmp_path: Path) -> None:
    assert quality.retrieval_table(["linear"], tmp_path) == ""
    assert quality.retrieval_table(["gnn-paper"], tmp_path) == ""  # no music there
