"""What a config may be told, and what it says to the rest."""

from __future__ import annotations

from dataclasses import replace

import pytest

from asid_core.config import NO_FIRST_PASS, Config, FirstPass, ProbesConfig, SearchConfig, load
from asid_core.plain_values import ConfigError


@pytest.mark.parametrize(
    ("tempo_ratios", "looked"),
    [
        ((0.92, 1.0, 1.08), 3),
        ((0.8, 1.0, 1.2), 1),
        ((1.2, 1.0, 0.8), 1),
        ((1.08, 1.0, 0.92), 3),
        ((0.96, 1.0), 1),
        ((1.0,), 1),
    ],
)
def test_a_first_pass_leaves_out_probes_only_between_near_tempi(tempo_ratios: tuple[float, ...], looked: int) -> None:
    config = Config(
        probes=ProbesConfig((-1.0, 0.0, 1.0), tempo_ratios), search=SearchConfig(first_pass=FirstPass(probes=3))
    )
    assert config.first_pass == FirstPass(1, 0, looked)
    assert replace(config, search=SearchConfig(first_pass=FirstPass(stride=0))).first_pass == NO_FIRST_PASS


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
