"""audfprint, replaced by a stub that prints in its format."""

import os
from pathlib import Path

import pytest

from asid_core.evaluation.evaluate import evaluate
from asid_core.evaluation.truth import Query, Relation, Truth
from benchmarks.lib import audfprint

# `match` finds for each query the reference of its own number, and another one with fewer hashes; q1 nothing
STUB = """#!/usr/bin/env python3
import sys
args = sys.argv[1:]
files = open(args[args.index("--list") + 1]).read().split()
if args[0] == "new":
    open(args[args.index("--dbase") + 1], "w").write("\\n".join(files))
    sys.exit(0)
references = open(args[args.index("--dbase") + 1]).read().split()
for number, query in enumerate(files):
    if number == 1:
        print(f"NOMATCH {query} 30.1 sec 2210 raw hashes")
        continue
    for rank, (reference, hashes) in enumerate(((references[number], 45), (references[number - 1], 7))):
        print(f"Matched {query} 30.1 sec 2210 raw hashes as {reference} at   12.3 s with {hashes:5d} of"
              f"    60 common hashes at rank  {rank}")
"""


def stub(folder: Path, text: str = STUB) -> str:
    program = folder / "audfprint"
    program.write_text(text)
    program.chmod(0o755)
    return str(program)


def bench(folder: Path) -> Path:
    for name, prefix in (("references", "r"), ("queries", "q")):
        (folder / name).mkdir(parents=True)
        for number in range(3):
            (folder / name / f"{prefix}{number}.flac").touch()
    return folder


def test_its_answers_are_scored_as_any_system(tmp_path: Path) -> None:
    rows = audfprint.detections(stub(tmp_path), bench(tmp_path / "b"), tmp_path / "work")
    assert rows.num_rows == 4 and set(rows["query_id"].to_pylist()) == {"q0", "q2"}
    truth = Truth(
        tuple(Query(f"q{n}", 30.0) for n in range(3)),
        ("r0", "r1", "r2"),
        (Relation("q0", "r0"), Relation("q2", "r1")),
    )
    report = evaluate(rows, truth)
    assert report.per_query["map"] == {"q0": 1.0, "q2": 0.5}
    assert report.figures["auroc"].value == 1.0


def test_more_hashes_are_a_higher_score_and_other_lines_are_none() -> None:
    line = "Matched a b.flac 5.6 sec 9 raw hashes as {}.flac at -1.2 s with {} of 60 common hashes at rank 0"
    rows = audfprint.parsed([line.format("x", 10), line.format("y", 11), "Analyzed #0 x.flac", ""]).to_pylist()
    assert [(r["query_id"], r["reference_id"]) for r in rows] == [("a b", "x"), ("a b", "y")]
    assert rows[0]["score"] == pytest.approx(0.5) and rows[1]["score"] > rows[0]["score"]


def test_a_failure_says_what_the_program_said(tmp_path: Path) -> None:
    failing = stub(tmp_path, "#!/bin/sh\necho no such codec >&2\nexit 3\n")
    with pytest.raises(RuntimeError, match="no such codec"):
        audfprint.detections(failing, bench(tmp_path / "b"), tmp_path / "work")


def test_it_is_looked_for_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert audfprint.program() is None
    (tmp_path / "audfprint.py").write_text("#!/bin/sh\n")
    os.chmod(tmp_path / "audfprint.py", 0o755)
    assert audfprint.program() == str(tmp_path / "audfprint.py")
