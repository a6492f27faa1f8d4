"""Separates mixes into stems: with Hybrid Demucs (Defossez 2021), or into drums and melody with median filters.

Both work on chunks, so that recordings of any length fit in memory.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import median_filter
from torch import Tensor, nn

CHUNK_S = 10.0
OVERLAP_S = 1.0
HARMONIC_S, PERCUSSIVE_HZ = 0.4, 500.0  # lengths of the median filters: over time and over frequency
N_FFT, HOP_SAMPLES = 1024, 512


class SeparationError(OSError):
    """The separation model is not available. The message says how to get it."""


def pretrained_separator() -> tuple[nn.Module, int]:
    """HDemucs trained on MUSDB and more, and its sample rate in Hz. Raises SeparationError if it is not available."""
    import torchaudio

    bundle = torchaudio.pipelines.HDEMUCS_HIGH_MUSDB_PLUS
    try:
        return bundle.get_model().eval(), int(bundle.sample_rate)
    except OSError as error:
        raise SeparationError(
            "cannot download the separation model (HDEMUCS_HIGH_MUSDB_PLUS, 340 MB): "
            f"{error}. Run this once on a machine with network access and copy its folder TORCH_HOME/hub here, pass "
            "stems (--multitrack), or use whole mixes (drop --separate)."
        ) from error


@torch.no_grad()
def separate(
    model: nn.Module, waveform: Tensor, rate_hz: int, chunk_s: float = CHUNK_S, overlap_s: float = OVERLAP_S
) -> dict[str, Tensor]:
    """Mono waveform [n] at the model's rate -> its sources: name -> mono [n]. Chunks are cross-faded linearly."""
    device = next(model.parameters()).device
    mean, scale = waveform.mean(), waveform.std().clamp(min=1e-8)
    wave = ((waveform - mean) / scale).to(device)
    chunk, overlap = round(chunk_s * rate_hz), round(overlap_s * rate_hz)
    step, names = chunk - overlap, cast(list[str], model.sources)
    total = torch.zeros(len(names), len(wave), device=device)
    weight = torch.zeros(len(wave), device=device)
    for start in range(0, max(len(wave) - overlap, 1), step):
        piece = wave[start : start + chunk]
        padded = F.pad(piece, (0, chunk - len(piece)))
        sources = model(padded.expand(1, 2, -1))[0].mean(1)[:, : len(piece)]
        fade = torch.ones(len(piece), device=device)
        ramp = torch.linspace(0, 1, overlap + 2, device=device)[1:-1]
        if start:
            fade[:overlap] = ramp[: len(piece)]
        if start + chunk < len(wave):
            fade[-overlap:] = ramp.flip(0)
        total[:, start : start + chunk] += sources * fade
        weight[start : start + chunk] += fade
    out = total / weight.clamp(min=1e-8) * scale.to(device)
    return {name: out[i].cpu() for i, name in enumerate(names)}


def percussive_harmonic(waveform: np.ndarray, rate_hz: int) -> dict[str, np.ndarray]:
    """Mono waveform [n] -> "drums" and "melody", float32 [n], which add up to it (Fitzgerald 2010, soft masks).

    Sound that is steady over time counts as melody, sound that is spread evenly over frequency as drums.
    """
    chunk = round(60 * rate_hz)
    pieces = [_parts(waveform[start : start + chunk], rate_hz) for start in range(0, len(waveform), chunk)]
    drums = np.concatenate(pieces)
    return {"drums": drums, "melody": waveform.astype(np.float32) - drums}


def _parts(piece: np.ndarray, rate_hz: int) -> np.ndarray:
    """The percussive part [n] of a piece [n]."""
    wave = F.pad(torch.from_numpy(piece.astype(np.float32)), (0, max(N_FFT - len(piece), 0)))
    window = torch.hann_window(N_FFT)
    spectrum = torch.stft(wave, N_FFT, HOP_SAMPLES, window=window, return_complex=True)
    magnitude = spectrum.abs().numpy()
    frames = round(HARMONIC_S * rate_hz / HOP_SAMPLES) | 1
    bins = round(PERCUSSIVE_HZ * N_FFT / rate_hz) | 1
    steady, even = median_filter(magnitude, (1, frames)) ** 2, median_filter(magnitude, (bins, 1)) ** 2
    mask = torch.from_numpy(even / np.maximum(steady + even, 1e-12))
    return torch.istft(spectrum * mask, N_FFT, HOP_SAMPLES, window=window, length=len(wave)).numpy()[: len(piece)]
