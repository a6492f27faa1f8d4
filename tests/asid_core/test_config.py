"""What a config may be told, and what it says to the rest."""

from __future__ import annotations

import pytest

from asid_core.config import ConfigError, load


@pytest.mark.parametrize(
    ("text", "value"), [("1e-3", 1e-3), ("5E4", 5e4), ("1.0e-3", 1e-3), ("-1.5e3", -1500.0), ("2", 2.0)]
)
def test_a_number_may_be_written_as_people_do(text: str, value: float) -> None:
    assert load("linear", [f"training.learning_rate={text}"]).training.learning_rate == value


@pytest.mark.parametrize("text", ["fast", "1e", "e5", "'nan'", "true", "[1e-3]"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="training.learning_rate must be float"):
        load("linear", [f"training.learning_rate={text}"])


def test_a_key_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match=r"unknown key training.learning_rte \(known here: .*learning_rate"):
        load("linear", ["training.learning_rte=1"])


def test_numbers_in_lists_too() -> None:
    assert load("linear", ["probes.semitones=[1e0, -2]"]).probes.semitones == (1.0, -2.0)
