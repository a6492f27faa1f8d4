"""Levels: arrays, tensors and spans share one formula and one floor."""

import numpy as np
import pytest
import torch

from asid_core.signal.decibels import FLOOR_DB, level_db, power_db, span_db


def test_a_full_scale_sine_has_minus_3_db() -> None:
    sine = np.sin(np.linspace(0, 200 * np.pi, 16_000, endpoint=False)).astype(np.float32)
    assert level_db(sine) == pytest.approx(-3.01, abs=0.01)
    assert level_db(sine / 1000) == pytest.approx(-63.01, abs=0.01)


@pytest.mark.parametrize("samples", [np.zeros(0), np.zeros(100), np.full(100, 1e-9)])
def test_silence_has_the_floor(samples: np.ndarray) -> None:
    assert level_db(samples) == FLOOR_DB


def test_spans_have_the_level_of_their_samples_and_empty_ones_the_floor() -> None:
    samples = torch.linspace(-1, 1, 50, dtype=torch.float64)
    power = torch.nn.functional.pad(samples.square().cumsum(0), (1, 0))
    found = span_db(power, torch.tensor([0, 10, 30]), torch.tensor([50, 20, 30]))
    wanted = [level_db(samples.numpy()), level_db(samples[10:20].numpy()), FLOOR_DB]
    torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float64))
    assert power_db(torch.ones(2)).tolist() == [0, 0]
