from __future__ import annotations

import numpy as np
import pytest

from asid_core.signal.mono import to_mono

RATE_HZ = 8000
RNG = np.random.default_rng(0)
A, B = (0.2 * RNG.standard_normal((2, 4 * RATE_HZ))).astype(np.float32)
NOTHING = np.zeros_like(A)


def mixed(*channels: np.ndarray, block: int = 1000) -> np.ndarray:
    samples = np.stack(channels, 1)
    return np.concatenate(list(to_mono(iter([samples[i : i + block] for i in range(0, len(samples), block)]), RATE_HZ)))


def level_db(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-20))


@pytest.mark.parametrize(
    "channels",
    [(A, A), (A, B), (A, NOTHING), (NOTHING, A), (A, -0.5 * A), (A, B, NOTHING, NOTHING, A, B), (A + B, A - B)],
)
def test_ordinary_channels_are_averaged(channels: tuple[np.ndarray, ...]) -> None:
    np.testing.assert_array_equal(mixed(*channels), np.stack(channels, 1).mean(axis=1))


@pytest.mark.parametrize(
    "channels",
    [(A, -A), (-A, A), (A, -0.9 * A), (-0.9 * A, A), (A, -0.75 * A), (A, -A, NOTHING, NOTHING, NOTHING, NOTHING),
     (0.3 * A, 0.3 * A, NOTHING, NOTHING, -0.3 * A, -0.3 * A), (A, B, -A - B)],
)  # fmt: skip
def test_channels_that_cancel_are_heard(channels: tuple[np.ndarray, ...]) -> None:
    loudest_db = max(level_db(channel) for channel in channels)
    assert level_db(mixed(*channels)) > loudest_db - 20 * np.log10(len(channels)) - 1


def test_one_passage_that_cancels_and_no_jump_where_it_begins() -> None:
    hum = (0.2 * np.sin(2 * np.pi * 50 * np.arange(len(A)) / RATE_HZ)).astype(np.float32)
    other = hum.copy()
    other[2 * RATE_HZ :] *= -1
    found = mixed(hum, other)
    assert level_db(found[3 * RATE_HZ :]) == pytest.approx(level_db(hum), abs=0.5)
    assert np.abs(np.diff(found)).max() < 2 * np.abs(np.diff(hum)).max()


def test_blocks_leave_no_trace() -> None:
    np.testing.assert_array_equal(mixed(A, -A, block=777), mixed(A, -A, block=len(A)))
