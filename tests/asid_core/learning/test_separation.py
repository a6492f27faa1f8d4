import numpy as np
import pytest
import torch
from torchaudio.models import HDemucs

from asid_core.learning import separation
from asid_core.learning.separation import SeparationError, percussive_harmonic, pretrained_separator, separate

RATE = 8_000


@pytest.fixture(scope="module")
def tiny() -> HDemucs:
    torch.manual_seed(0)
    return HDemucs(["drums", "rest"], channels=4, depth=4, nfft=1024, norm_starts=9).eval()


@pytest.mark.parametrize("seconds", [0.5, 2.0, 5.3])
def test_separates_any_length(tiny: HDemucs, seconds: float) -> None:
    wave = torch.randn(round(seconds * RATE))
    found = separate(tiny, wave, RATE, chunk_s=2.0, overlap_s=0.25)
    assert set(found) == {"drums", "rest"}
    assert all(stem.shape == wave.shape and torch.isfinite(stem).all() for stem in found.values())


class Halves(torch.nn.Module):
    """A separator with known output: each source is half of the mix."""

    sources = ("a", "b")

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, mix: torch.Tensor) -> torch.Tensor:
        return torch.stack([mix / 2, mix / 2], dim=1)


def test_chunks_join_without_a_trace() -> None:
    wave = torch.randn(30_000) + 0.1
    found = separate(Halves(), wave, RATE, chunk_s=1.0, overlap_s=0.2)
    centred = (wave - wave.mean()) / 2
    assert torch.allclose(found["a"], centred, atol=1e-5) and torch.allclose(found["b"], centred, atol=1e-5)


def test_without_network_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    import torchaudio

    class Bundle:
        sample_rate = 44_100

        def get_model(self) -> None:
            raise OSError("no route to host")

    monkeypatch.setattr(torchaudio.pipelines, "HDEMUCS_HIGH_MUSDB_PLUS", Bundle())
    with pytest.raises(SeparationError, match="TORCH_HOME.*--multitrack"):
        pretrained_separator()
    assert separation.CHUNK_S > separation.OVERLAP_S


def test_percussive_and_harmonic_parts_are_told_apart_and_add_up() -> None:
    rate_hz = 16_000
    time = np.arange(3 * rate_hz) / rate_hz
    note = 0.3 * np.sin(2 * np.pi * 440 * time).astype(np.float32)
    clicks = np.zeros_like(note)
    for start in range(rate_hz // 2, len(clicks), rate_hz // 2):
        clicks[start : start + 160] = 0.5 * np.random.default_rng(0).standard_normal(160)
    parts = percussive_harmonic(note + clicks, rate_hz)
    assert np.allclose(parts["drums"] + parts["melody"], note + clicks, atol=1e-6)
    assert np.square(parts["melody"] - note).sum() < 0.1 * np.square(note).sum()
    assert np.square(parts["drums"] - clicks).sum() < 0.3 * np.square(clicks).sum()


@pytest.mark.parametrize("samples", [1, 700, 60 * 16_000 + 5])
def test_parts_of_any_length_and_of_silence(samples: int) -> None:
    parts = percussive_harmonic(np.zeros(samples, np.float32), 16_000)
    assert all(len(part) == samples and not part.any() for part in parts.values())
