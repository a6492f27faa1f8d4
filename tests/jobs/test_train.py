"""`asid train` and `asid stems`: wrong usage."""

import pytest

from jobs import cli


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
