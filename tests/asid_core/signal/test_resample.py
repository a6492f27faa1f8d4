from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchaudio.transforms import Resample

from asid_core.signal.resample import resample_blocks


def blocks(signal: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    cuts = np.cumsum(sizes)
    return np.split(signal, cuts[cuts < len(signal)])


@settings(max_examples=25, deadline=None)
@given(
    rate_hz=st.sampled_from([8000, 11025, 16000, 22050, 44100, 48000, 96000, 192000]),
    length=st.integers(1, 60_000),
    sizes=st.lists(st.integers(1, 30_000), max_size=12),
)
def test_blocks_equal_the_whole(rate_hz: int, length: int, sizes: list[int]) -> None:
    signal = np.random.default_rng(length).standard_normal(length).astype(np.float32)
    whole = Resample(rate_hz, 16_000)(torch.from_numpy(signal)).numpy()
    streamed = np.concatenate(list(resample_blocks(blocks(signal, sizes), rate_hz)))
    assert len(streamed) == len(whole) == -(-length * 16_000 // rate_hz)
    np.testing.assert_allclose(streamed, whole, atol=2e-6)


def test_long_input_is_given_out_while_it_comes() -> None:
    given_in = 0

    def source() -> object:
        nonlocal given_in
        for _ in range(40):
            given_in += 44_100
            yield np.zeros(44_100, np.float32)

    lag = 0
    out = 0
    for block in resample_blocks(source(), 44_100):  # type: ignore[arg-type]
        out += len(block)
        lag = max(lag, given_in - out * 441 // 160)
    assert lag < 3 * 44_100
    assert out == 40 * 16_000


@pytest.mark.parametrize("rate_hz", [44_101, 7_919, 191_999])
def test_odd_rates_keep_time_and_bound_the_filter(rate_hz: int) -> None:
    seconds = 20
    t = np.arange(seconds * rate_hz) / rate_hz
    signal = np.sin(2 * np.pi * 440 * t).astype(np.float32)
    out = np.concatenate(list(resample_blocks(np.array_split(signal, 20), rate_hz)))
    assert abs(len(out) - seconds * 16_000) <= 5e-5 * seconds * 16_000
    expected = np.sin(2 * np.pi * 440 * np.arange(len(out)) / 16_000)
    assert np.abs(out - expected)[200:16_000].max() < 0.02
