"""Undoing pitch and tempo in the feature domain."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asid_core.config import LogFrequencyConfig
from asid_core.signal.probing import excerpt, normalised, pooled_bins, probed_patches, shifted, stretched

CONFIG = LogFrequencyConfig()


def features(frames: int = 300, seed: int = 0) -> torch.Tensor:
    return torch.rand(CONFIG.bins, frames, generator=torch.Generator().manual_seed(seed))


@settings(deadline=None, max_examples=25)
@given(centre=st.integers(50, 250), pool=st.sampled_from([1, 2, 4, 5]))
def test_at_the_ratio_1_stretching_is_pooling(centre: int, pool: int) -> None:
    cut = stretched(features(), torch.tensor([float(centre)]), 1.0, 100, pool)[0]
    wanted = features()[:, centre - 50 : centre + 50].unflatten(1, (-1, pool)).mean(2)
    torch.testing.assert_close(cut, wanted, atol=1e-5, rtol=0)


@settings(deadline=None, max_examples=25)
@given(ratio=st.floats(0.6, 1.6), centre=st.floats(100, 200))
def test_stretching_keeps_a_ramp_a_ramp(ratio: float, centre: float) -> None:
    ramp = (torch.arange(300) + 0.5).expand(CONFIG.bins, -1)  # its mean over an interval is the middle, but for steps
    cut = stretched(ramp, torch.tensor([centre]), ratio, 100, 4)[0, 0]
    wanted = centre + (torch.arange(25) * 4 + 2 - 50) / ratio
    torch.testing.assert_close(cut, wanted, atol=0.1, rtol=0)


def test_outside_the_recording_is_nothing() -> None:
    cut = stretched(torch.ones(CONFIG.bins, 60), torch.tensor([0.0, 60.0, 500.0]), 1.0, 100, 1)
    assert cut[0, :, :50].abs().max() == cut[1, :, 50:].abs().max() == cut[2].abs().max() == 0
    torch.testing.assert_close(cut[0, :, 50:], torch.ones(CONFIG.bins, 50))


@settings(deadline=None, max_examples=50)
@given(
    ratio=st.floats(0.5, 2.0), centre=st.floats(-50, 350), frames=st.integers(10, 400), pool=st.sampled_from([1, 2, 4])
)
def test_one_excerpt_is_what_stretching_gives(ratio: float, centre: float, frames: int, pool: int) -> None:
    wanted = stretched(features(), torch.tensor([centre], dtype=torch.float64), ratio, frames, pool)
    torch.testing.assert_close(excerpt(features(), centre, ratio, frames, pool), wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("semitones", [-3.0, -0.5, 0.0, 1.0, 4.0])
def test_a_shift_by_whole_bins_moves_them(semitones: float) -> None:
    cut, bins = features()[None], round(semitones * 2)
    back = shifted(cut, semitones, CONFIG)
    inside = slice(10, CONFIG.bins - 10)
    torch.testing.assert_close(back[:, inside], cut[:, 10 + bins : CONFIG.bins - 10 + bins])
    assert back.shape == cut.shape


@pytest.mark.parametrize("octaves", [-9, 9])
def test_a_shift_beyond_all_bins_leaves_nothing(octaves: int) -> None:
    back = shifted(features()[None], 12.0 * octaves + 0.25, CONFIG)
    assert back.shape == (1, *features().shape) and back.abs().max() == 0


def test_between_bins_two_are_mixed() -> None:
    cut = features()[None]
    wanted = 0.5 * (shifted(cut, 1.0, CONFIG) + shifted(cut, 1.5, CONFIG))
    torch.testing.assert_close(shifted(cut, 1.25, CONFIG), wanted)


def test_patches_have_unit_norm_and_silence_is_zero() -> None:
    heard = features()
    heard[:, 200:] = 0
    patches = probed_patches(heard, torch.tensor([100.0, 270.0]), [-1.0, 0.0, 2.0], 1.08, CONFIG)
    assert patches.shape == (3, 2, CONFIG.bins // CONFIG.pool_bins, 25)
    torch.testing.assert_close(patches[:, 0].flatten(1).norm(dim=1), torch.ones(3))
    assert patches[:, 1].abs().max() == 0
    own = normalised(pooled_bins(stretched(heard, torch.tensor([100.0]), 1.08, 100, 4), 2))
    torch.testing.assert_close(patches[1, 0], own[0])
