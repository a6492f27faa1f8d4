"""The notebook's cells run, and find the sample planted in the first cell."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.docs.commands import ROOT


def test_the_notebook_finds_what_it_planted(capsys: pytest.CaptureFixture[str]) -> None:
    cells = json.loads((ROOT / "docs" / "two-files.ipynb").read_text("utf-8"))["cells"]
    names: dict[str, Any] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []  # they would be of another version
            exec("".join(cell["source"]), names)
    best = names["found"].places[0]
    assert best.query_start_s == pytest.approx(6.0, abs=0.5) and best.reference_start_s == pytest.approx(10.0, abs=0.5)
    assert best.tempo_ratio == pytest.approx(1.08, abs=0.01) and best.pitch_semitones == pytest.approx(1.33, abs=0.2)
    assert "it plays the record from" in capsys.readouterr().out
