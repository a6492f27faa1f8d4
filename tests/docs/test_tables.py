"""Every example in docs/tables.md runs unchanged on a catalogue."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.pipelines import fake_sweep

TEXT = (Path(__file__).parents[2] / "docs" / "tables.md").read_text("utf-8")
BLOCKS = [(kind, code) for kind, code in re.findall(r"```(sql|python)\n(.*?)```", TEXT, re.S)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("docs")
    catalogue = fake_sweep.make(str(made / "music.asid"))
    reject = {"track_id": "x", "uri": "x", "stage": "segment", "error_type": "DecodeError", "error": "no audio"}
    with catalogue.writing("test"):
        catalogue.write_rejects("r", [reject])
    return made


@pytest.mark.parametrize(("kind", "code"), BLOCKS, ids=[f"{kind}-{i}" for i, (kind, _) in enumerate(BLOCKS)])
def test_an_example_runs(
    kind: str, code: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    if "duckdb" in code or kind == "sql":
        duckdb = pytest.importorskip("duckdb")
    if kind == "python":
        exec(compile(code, "docs/tables.md", "exec"), {})
        assert capsys.readouterr().out.strip()
        return
    for statement in filter(str.strip, code.split(";")):
        assert duckdb.sql(statement).fetchall()


def test_the_page_has_examples_of_each_kind() -> None:
    assert {kind for kind, _ in BLOCKS} == {"sql", "python"} and len(BLOCKS) >= 6
