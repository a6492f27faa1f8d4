from pathlib import Path

from benchmarks.lib.calls import forget_other_code


def test_catalogues_of_other_code_are_forgotten_and_those_of_this_kept(tmp_path: Path) -> None:
    code, bench = tmp_path / "code", tmp_path / "bench"
    (code / "pipelines").mkdir(parents=True)
    (code / "pipelines" / "a.py").write_text("one")
    (code / "README.md").write_text("any")
    assert not forget_other_code(bench, code)  # nothing was there
    (bench / "catalogue-linear" / "x").mkdir(parents=True)
    (code / "README.md").write_text("other")
    assert not forget_other_code(bench, code) and (bench / "catalogue-linear").is_dir()
    (code / "pipelines" / "a.py").write_text("two")
    assert forget_other_code(bench, code) and not (bench / "catalogue-linear").exists()
    assert not forget_other_code(bench, code)
