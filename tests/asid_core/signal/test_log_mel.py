import torch

from asid_core.config import LogMelConfig
from asid_core.signal.log_mel import LogMelFrontEnd
from tests.asid_core.golden import difference, golden


def test_agrees_with_the_authors() -> None:
    front_end = LogMelFrontEnd(LogMelConfig())
    assert difference(front_end(golden()["audio"][None])[0], golden()["log_mel"]) < 1e-4


def test_nothing_is_clipped_below_the_loudest_frame() -> None:
    quiet = torch.randn(1, 16_000) * 1e-5
    alone = LogMelFrontEnd(LogMelConfig())(quiet)
    after_loud = LogMelFrontEnd(LogMelConfig())(torch.cat([torch.randn(1, 16_384), quiet], dim=1))
    assert torch.allclose(after_loud[..., 40:60], alone[..., 8:28], atol=1e-3)


def test_silence_is_finite() -> None:
    assert torch.equal(LogMelFrontEnd(LogMelConfig())(torch.zeros(2, 1024)), torch.full((2, 64, 3), -100.0))
