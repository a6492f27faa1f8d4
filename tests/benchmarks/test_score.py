"""How the score behaves as the catalogue grows."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from asid_core.config import Config, ScoreConfig, SearchConfig
from benchmarks import score
from tests.benchmarks.lib.test_growth import CONFIG, DISTRACTORS, detections, truth


def false_alarms(config: Config) -> list[float]:
    """False alarms per hour at each predicted size."""
    table = detections(6.5, np.random.default_rng(0))
    names = [*truth().references, *(f"distractor_{i}" for i in range(DISTRACTORS))]
    text = score.report(table, truth(), names, config, 10**6)
    return [float(row) for row in re.findall(r"^\| predicted \|.*\| ([\d.]+) \|$", text, re.M)]


def test_false_alarms_grow_with_the_catalogue_unless_the_score_knows_its_size() -> None:
    ignorant = replace(CONFIG, search=SearchConfig(verify_tracks=40))
    knowing = replace(ignorant, score=ScoreConfig(intercept=-6.0, coarse=1.0, verify=0.0, tries=2.0))
    without, with_tries = false_alarms(ignorant), false_alarms(knowing)
    assert len(without) == len(score.SIZES) and without[-1] > 10 * max(without[0], 0.1)
    assert with_tries[-1] <= with_tries[0] + 1


def test_it_says_which_benchmark_to_make_first(tmp_path: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert score.main(["--bench", str(tmp_path)]) == 2
    assert "make -C benchmarks wild-validation" in capsys.readouterr().err
