"""`asid train` and `asid stems`: wrong usage."""

import pytest

from asid_core.model.fingerprinter import Fingerprinter
from jobs import cli
from pipelines.store.location import Location
from pipelines.train.record import load_weights, save_weights
from pipelines.train.training import Trained
from pipelines.train.worker import Job
from tests.pipelines.train.test_training import tiny


def test_the_reranker_needs_an_encoder(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "reranker", "--stems", "nowhere", "--output", "out", "-q"]) == 1
    assert "Pass the encoder's --weights" in capsys.readouterr().err


def test_the_error_for_missing_tables_names_asid_stems(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "encoder", "--config", "linear", "--stems", "/nowhere", "--output", "out", "-q"]) == 1
    assert "asid stems" in capsys.readouterr().err


def test_only_an_encoder_or_a_reranker_can_be_trained(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "everything", "--stems", "x", "--output", "y"]) == 2
    assert "encoder" in capsys.readouterr().err


def test_stems_come_from_one_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["stems", "--output", "out"]) == 2
    assert cli.main(["stems", "--corpus", "a", "--midi", "b", "--output", "out"]) == 2
    assert cli.main(["stems", "--midi", "b", "--separate", "hpss", "--output", "out"]) == 2
    assert "--separate needs --corpus" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["encoder", "reranker"])
def test_workers_on_other_nodes_load_weights_from_s3_themselves(
    what: str, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would not find the local copy that the driver reads the config from."""
    save_weights(Fingerprinter(tiny()), Location(s3_bucket).join("start"))
    jobs: list[Job] = []

    def trained(job: Job, *_: object) -> Trained:
        jobs.append(job)
        return Trained(1, False, {}, {})

    monkeypatch.setattr("pipelines.runtime.start_ray", lambda address: None)
    for name in ("encoder", "reranker"):
        monkeypatch.setattr(f"pipelines.train.{name}.train", trained)
    argv = ["train", what, "--stems", "s", "--output", "o", "--weights", f"{s3_bucket}/start", "-q"]
    assert cli.main([*argv, "--set", "model.reranker.heads=2"]) == 0
    assert jobs[0].start == f"{s3_bucket}/start"
    assert jobs[0].start is not None and load_weights(jobs[0].start).model_id


@pytest.mark.parametrize(
    ("start", "config", "problem"),
    [
        (
            "discriminant",
            "gnn --set model.front_end.window_frames=104",
            "other windows, or has fewer than 256 dimensions",
        ),
        ("linear", "gnn", "only encoder.head: gains starts from a projection"),
        ("discriminant", "gnn-paper", "only encoder.head: gains starts from a projection"),
        ("gnn-paper", "resnet-ibn", "a model gnn-paper, and the config is for resnet-ibn"),
        ("gnn", "gnn-paper", "a model gnn, and the config is for gnn-paper"),
    ],
)
def test_weights_that_do_not_fit_are_told_before_any_worker_starts(
    start: str, config: str, problem: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipelines.runtime.start_ray", lambda address: None)
    argv = ["train", "encoder", "--stems", "s", "--output", "o", "--config", *config.split(), "--weights", start, "-q"]
    assert cli.main(argv) == 1
    said = capsys.readouterr().err
    assert problem in said and "Traceback" not in said and len(said.splitlines()) == 1
