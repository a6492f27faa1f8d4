import math

import pytest
import torch

from asid_core.config import CqtConfig
from asid_core.signal.cqt import CqtFrontEnd, octave_filters
from asid_core.signal.framing import core_frames, frames

RATE = 16_000
SMALL = CqtConfig(bins=36, f_min_hz=130.8)


def sine(hz: float, seconds: float = 2.0, amplitude: float = 0.5) -> torch.Tensor:
    return (amplitude * torch.sin(2 * torch.pi * hz * torch.arange(round(seconds * RATE)) / RATE))[None]


@pytest.mark.parametrize("bin_number", [0, 17, 40, 83])
def test_a_sine_is_its_power_in_its_bin_and_little_two_bins_off(bin_number: int) -> None:
    power = CqtFrontEnd(CqtConfig()).power(sine(32.7 * 2 ** (bin_number / 12)))[0, :, 50]
    assert float(power[bin_number]) == pytest.approx(0.25, rel=0.02)
    assert int(power.argmax()) == bin_number
    others = [float(power[i]) for i in range(84) if abs(i - bin_number) > 2]
    assert max(others) < 0.25 * 0.01


def test_it_is_the_sum_of_its_definition() -> None:
    """Frame 30 of bin 12, by the textbook: resampled audio times the windowed exponential around sample 30 * 441."""
    config = SMALL
    audio = torch.randn(1, RATE, generator=torch.Generator().manual_seed(0))
    front_end = CqtFrontEnd(config)
    hz, quality = 261.6, 1 / (2 ** (1 / 12) - 1)
    at = torch.arange(-math.floor(quality * 22_050 / hz / 2), math.floor(quality * 22_050 / hz / 2) + 1)
    window = 0.5 + 0.5 * torch.cos(2 * torch.pi * at * hz / 22_050 / quality)
    part = front_end.resample(audio)[0, 30 * 441 + at]
    turning = torch.exp(-2j * torch.pi * hz * at / 22_050)
    wanted = 2 * (part * window * turning).sum().abs() / window.sum()
    assert float(front_end.power(audio)[0, 12, 30]) == pytest.approx(float(wanted) ** 2, rel=1e-3)


def test_frames_do_not_depend_on_where_the_audio_was_cut() -> None:
    front_end = CqtFrontEnd(SMALL)
    audio = torch.randn(1, 4 * RATE, generator=torch.Generator().manual_seed(1))[0] * 0.1
    whole = frames(front_end, audio[None])[0]
    core, margin = 2 * RATE, RATE
    first = core_frames(front_end, audio[: core + margin], 0, 0, core)
    second = core_frames(front_end, audio[core - margin :], core, margin, core)
    assert torch.allclose(torch.cat([first, second], 1), whole, atol=1e-2)


def test_a_semitone_up_is_a_bin_up_and_silence_is_the_floor() -> None:
    front_end = CqtFrontEnd(SMALL)
    low, high = (front_end(sine(hz))[0, :, 40] for hz in (261.6, 277.2))
    heard = low[:-1] > -80
    assert int(heard.sum()) > 10 and torch.allclose(low[:-1][heard], high[1:][heard], atol=0.7)
    assert torch.equal(front_end(torch.zeros(1, RATE)), torch.full((1, 36, 51), -100.0))


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="fewer"):
        octave_filters(CqtConfig(bins=108))
    with pytest.raises(ValueError, match="use 320"):
        CqtFrontEnd(CqtConfig(hop_samples=512))
