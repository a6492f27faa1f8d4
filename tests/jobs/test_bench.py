"""`asid bench` and `asid evaluate` on a benchmark of a few seconds."""

import csv
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from asid_core.config import ScoreConfig
from asid_core.evaluation.truth import read_truth
from asid_core.model.fingerprinter import Fingerprinter
from jobs import cli
from jobs.command import DONE, FAILED, USAGE
from tests.conftest import write_audio
from tests.pipelines.catalogues import LINEAR, melody, save_model


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A benchmark of three references and five queries: hard, exact, hard, mild, and one that samples nothing."""
    folder = tmp_path_factory.mktemp("bench")
    for number in range(3):
        write_audio(folder / "music" / f"{'abc'[number]}.wav", melody(14.0, number)[:, None], 16_000)
    for number in range(2):
        write_audio(folder / "backgrounds" / f"{'xy'[number]}.wav", melody(32.0, 10 + number)[:, None], 16_000)
    argv = [
        "bench",
        "make",
        "--corpus",
        str(folder / "music"),
        "--backgrounds",
        str(folder / "backgrounds"),
        "--queries",
        "5",
    ]
    assert cli.main([*argv, "--output", str(folder / "b")]) == DONE
    return folder / "b"


def test_make_writes_a_benchmark_and_never_overwrites_one(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = read_truth(made / "truth.json")
    assert (len(truth.queries), len(truth.references), len(truth.relations)) == (5, 3, 4)
    argv = ["bench", "make", "--corpus", str(made.parent / "music"), "--output", str(made)]
    assert cli.main(argv) == FAILED
    assert "already holds a benchmark" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["make", "--output", "x"], USAGE, "make needs --corpus"),
        (["run"], USAGE, "run needs --bench"),
        (["run", "--bench", "nowhere"], FAILED, "Make one with `asid bench make`"),
        (["fit", "--bench", "nowhere"], FAILED, "Make one with `asid bench make`"),
        (["make", "--corpus", "s3://music", "--output", "x"], FAILED, "Download the music first"),
        (["make", "--corpus", "nowhere", "--output", "x"], FAILED, "too little music"),
    ],
)
def test_errors_are_one_line_without_traceback(
    argv: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["bench", *argv]) == code
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error


@pytest.mark.ray
def test_run_fit_and_evaluate(ray_session: Any, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = ["--weights", save_model(LINEAR, tmp_path / "w")]
    figures = tmp_path / "figures.json"
    assert cli.main(["bench", "run", "--bench", str(made), *weights, "--output", str(figures)]) == DONE
    printed = capsys.readouterr().out
    assert "| tier | n | mAP" in printed and "| stage | mAP |" in printed
    results = json.loads(figures.read_text())
    assert set(results["reports"]) == {"coarse", "verify", "all"}  # the model has no reranker
    assert all(r["num_references"] == 3 and r["num_queries"] == 5 for r in results["reports"].values())
    assert results["reports"]["all"]["per_query"]["map"]["q0001"] == 1.0  # the query that holds an unchanged sample
    assert results["model"] == "small" and "torch" in results["versions"]

    argv = ["bench", "run", "--bench", str(made), *weights, "--against", str(figures)]
    assert cli.main(argv) == DONE  # compared with itself
    assert "| mAP | +0.000 [+0.000, +0.000], p 1.000 |" in capsys.readouterr().out
    (tmp_path / "other.json").write_text('{"reports": {}}')
    assert cli.main([*argv[:-1], str(tmp_path / "other.json")]) == FAILED
    assert "pass a file that `asid bench run --output` wrote" in capsys.readouterr().err

    assert cli.main(["bench", "run", "--bench", str(made), *weights, "--format", "json"]) == DONE
    rows = json.loads(capsys.readouterr().out)
    (row,) = (r for r in rows if (r["stage"], r["group"], r["figure"]) == ("all", "", "map"))
    assert (
        row["value"] == results["reports"]["all"]["figures"]["map"]["value"]
        and row["low"] <= row["value"] <= row["high"]
    )
    assert {"tier", ""} <= {r["group"] for r in rows}

    assert cli.main(["bench", "fit", "--bench", str(made), *weights]) == DONE
    printed = capsys.readouterr().out
    values = yaml.safe_load(printed[: printed.index("fitted to")])["score"]
    assert set(values) == {f.name for f in fields(ScoreConfig)} and values["verify"] > 0
    assert values["threshold"] == LINEAR.score.threshold

    _evaluate(made, weights, results["reports"]["all"], tmp_path, capsys)


@pytest.mark.ray
def test_a_reranker_learns_from_what_the_search_of_a_benchmark_finds(
    ray_session: Any, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = save_model(LINEAR, tmp_path / "w")
    argv = ["train", "reranker", "--bench", str(made), "--weights", weights]
    for name, value in (("kind", "aligned"), ("channels", "4")):
        argv += ["--set", f"model.reranker.{name}={value}"]
    argv += ["--set", "training.reranker_steps=3"]
    assert cli.main([*argv, "--output", str(tmp_path / "trained")]) == DONE
    assert "right and" in capsys.readouterr().out
    assert cli.main([*argv, "--output", str(tmp_path / "again")]) == DONE  # the sweep is not done again
    one, other = (Fingerprinter.from_pretrained(tmp_path / name / "best") for name in ("trained", "again"))
    assert one.model_id == Fingerprinter.from_pretrained(weights).model_id
    assert one.reranker is not None and other.reranker is not None
    for name, value in one.reranker.state_dict().items():
        assert torch.equal(value, other.reranker.state_dict()[name])

    figures = tmp_path / "figures.json"
    argv = ["bench", "run", "--bench", str(made), "--weights", str(tmp_path / "trained" / "best")]
    assert cli.main([*argv, "--output", str(figures)]) == DONE
    assert set(json.loads(figures.read_text())["reports"]) == {"coarse", "rerank", "verify", "all"}


@pytest.mark.parametrize(
    ("sources", "kind", "said"),
    [
        ([], "aligned", "reads --bench"),
        (["--stems", "x"], "aligned", "reads --bench"),
        (["--bench", "x", "--stems", "x"], "aligned", "reads --bench"),
        (["--bench", "x"], "attention", "reads --stems"),
        ([], "attention", "reads --stems"),
    ],
)
def test_each_kind_of_reranker_has_its_own_source(
    sources: list[str], kind: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["train", "reranker", "--weights", "linear", "--set", f"model.reranker.kind={kind}"]
    assert cli.main([*argv, *sources, "--output", "y"]) == USAGE
    assert said in capsys.readouterr().err


def _evaluate(
    made: Path, weights: list[str], expected: dict[str, Any], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The benchmark also has annotations in the layout of Sample100-ext; `asid evaluate` gives the same figures."""
    output = folder / "annotated.json"
    argv = ["evaluate", "--catalogue", str(made / "catalogue-small"), *weights, "--output", str(output)]
    argv += ["--queries", "queries/*", "--references", "references/*", "--annotations"]
    assert cli.main([*argv, str(made)]) == DONE
    annotated = json.loads(output.read_text())
    strict = annotated["reports"]["strict"]
    assert set(strict["figures"]) == set(expected["figures"]) and strict["num_queries"] == expected["num_queries"] == 5
    for name, figure in expected["figures"].items():
        assert strict["figures"][name]["value"] == pytest.approx(figure["value"], abs=1e-3), name
    assert strict["per_query"] == expected["per_query"]
    for group in ("tier", "background_db"):
        assert strict["groups"][group] == expected["groups"][group]
    assert {r["length_s"] for r in annotated["occurrences"]} <= {5.0, 7.0} and annotated["occurrences"]
    assert "; 0 of 8 annotated tracks missing" in capsys.readouterr().out

    rows = list(csv.DictReader((made / "samples.csv").open()))
    _annotate(folder / "more", [*rows, rows[0] | {"sample_id": "S99", "query_track_id": "ghost"}])
    assert cli.main([*argv, str(folder / "more")]) == DONE
    assert "not in the catalogue, counted as not found: ghost\n" in capsys.readouterr().out
    with_ghost = json.loads(output.read_text())["reports"]["strict"]["per_query"]["map"]
    assert with_ghost["ghost"] == 0
    assert np.mean(list(with_ghost.values())) < expected["figures"]["map"]["value"]

    _annotate(folder / "none", [row | {"query_track_id": "ghost"} for row in rows])
    assert cli.main([*argv, str(folder / "none")]) == FAILED
    assert "none of the 1 annotated queries (ghost, ...)" in capsys.readouterr().err


def _annotate(folder: Path, rows: list[dict[str, str]]) -> None:
    folder.mkdir()
    with (folder / "samples.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
