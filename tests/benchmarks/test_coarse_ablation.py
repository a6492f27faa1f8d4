from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from asid_core.config import FirstPassConfig
from asid_core.evaluation.truth import Query, Relation, Truth
from asid_core.model.fingerprinter import Fingerprinter
from benchmarks.coarse_ablation import Setting, measure, settings, table
from tests.conftest import write_audio
from tests.pipelines.catalogues import melody


def test_one_thing_is_varied_at_a_time() -> None:
    varied = settings(256)
    assert len(varied) == len(set(varied)) == 17
    config = Fingerprinter.from_pretrained("linear").config
    as_shipped = [s for s in varied if s.dim == 256 and s.hop_s == 1.0 and s.first_pass == FirstPassConfig(2, probes=3)]
    assert [len(s.chosen(config).grid) for s in as_shipped] == [81, 1, 9, 27]
    assert {s.first_pass.stride for s in varied} == {0, 1, 2, 4}
    assert {s.dim for s in settings(128)} == {64, 128}


@pytest.fixture()
def bench(tmp_path: Path) -> tuple[Path, Truth]:
    tunes = {f"r{seed}": melody(12.0, seed) for seed in range(3)}
    for name, tune in tunes.items():
        write_audio(tmp_path / "references" / f"{name}.wav", tune, 16_000)
    write_audio(tmp_path / "queries" / "same.wav", tunes["r1"][16_000 * 3 : 16_000 * 10], 16_000)
    write_audio(tmp_path / "queries" / "nothing.wav", melody(7.0, 9), 16_000)
    queries = (Query("same", groups={"tier": "hard"}), Query("nothing"))
    return tmp_path, Truth(queries, tuple(tunes), (Relation("same", "r1", groups={"tier": "hard"}),))


def test_each_setting_finds_what_is_there(bench: tuple[Path, Truth]) -> None:
    varied = [Setting(64, 1.0, 9), Setting(256, 2.0, 1)]
    reports = measure(Fingerprinter.from_pretrained("linear"), bench[0], bench[1], varied)
    assert list(reports) == varied
    assert all(report.figures["map"].value == 1.0 for report in reports.values())
    lines = table(reports).splitlines()
    assert lines[2].startswith("| 64 | 1.0 | 9 | 2 | 3 | 1.000") and lines[3].startswith(
        "| 256 | 2.0 | 1 | 2 | 3 | 1.000"
    )
    assert np.isfinite(reports[varied[0]].figures["auroc"].value)
