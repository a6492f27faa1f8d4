import pytest

from jobs import cli


def test_the_reranker_needs_an_encoder(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "reranker", "--stems", "nowhere", "--output", "out", "-q"]) == 1
    assert "give its --weights" in capsys.readouterr().err


def test_the_linear_fit_says_where_tables_come_from(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "encoder", "--config", "linear", "--stems", "/nowhere", "--output", "out", "-q"]) == 1
    assert "asid stems" in capsys.readouterr().err


def test_what_is_trained_is_one_of_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "everything", "--stems", "x", "--output", "y"]) == 2
    assert "encoder" in capsys.readouterr().err


def test_stems_come_from_one_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["stems", "--output", "out"]) == 2
    assert cli.main(["stems", "--corpus", "a", "--midi", "b", "--output", "out"]) == 2
    assert cli.main(["stems", "--midi", "b", "--separate", "hpss", "--output", "out"]) == 2
    assert "--separate goes with --corpus" in capsys.readouterr().err
