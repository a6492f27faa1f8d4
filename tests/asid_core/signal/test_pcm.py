from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from asid_core.signal.pcm import cut, from_pcm, to_pcm


@settings(max_examples=200, deadline=None)
@given(
    length=st.integers(0, 400),
    core=st.integers(1, 90),
    margin=st.integers(0, 120),
    sizes=st.lists(st.integers(0, 150), max_size=8),
)
def test_cores_are_the_track_and_margins_its_neighbours(length: int, core: int, margin: int, sizes: list[int]) -> None:
    track = np.arange(length, dtype=np.int16)
    edges = np.cumsum(sizes)
    segments = list(cut(np.split(track, edges[edges < length]), core, margin))
    assert [s.index for s in segments] == list(range(-(-length // core)))
    for s in segments:
        assert s.start_sample == s.index * core
        assert s.lead_samples == min(margin, s.start_sample)
        end = s.start_sample + s.core_samples
        expected = track[s.start_sample - s.lead_samples : min(length, end + margin)]
        np.testing.assert_array_equal(s.pcm, expected)
    cores = [s.pcm[s.lead_samples : s.lead_samples + s.core_samples] for s in segments]
    np.testing.assert_array_equal(np.concatenate([*cores, track[:0]]), track)


def test_pcm_round_trip_is_exact_and_clips() -> None:
    every = np.arange(-32768, 32768, dtype=np.int16)
    np.testing.assert_array_equal(to_pcm(from_pcm(every)), every)
    np.testing.assert_array_equal(from_pcm(every.astype("<i2").tobytes()), from_pcm(every))
    np.testing.assert_array_equal(to_pcm(np.array([1.0, 7.0, -9.0], np.float32)), [32767, 32767, -32768])
