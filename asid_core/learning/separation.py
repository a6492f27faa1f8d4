"""Mixes to stems with Hybrid Demucs (Defossez 2021), in chunks that overlap, so that any length fits in memory."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHUNK_S = 10.0
OVERLAP_S = 1.0


class SeparationError(OSError):
    """The separation model is not to be had; the message says how to get it."""


def pretrained_separator() -> tuple[nn.Module, int]:
    """(HDemucs trained on MUSDB and more, its sample rate). Raises SeparationError where it can not be fetched."""
    import torchaudio

    bundle = torchaudio.pipelines.HDEMUCS_HIGH_MUSDB_PLUS
    try:
        return bundle.get_model().eval(), int(bundle.sample_rate)
    except OSError as error:
        raise SeparationError(
            "the separation model (HDEMUCS_HIGH_MUSDB_PLUS, 340 MB) can not be fetched from its hub: "
            f"{error}. Run once where there is a network and copy the folder TORCH_HOME/hub here, give stems instead "
            "(--multitrack), or leave the mixes whole (without --separate)"
        ) from error


@torch.no_grad()
def separate(
    model: nn.Module, waveform: Tensor, rate_hz: int, chunk_s: float = CHUNK_S, overlap_s: float = OVERLAP_S
) -> dict[str, Tensor]:
    """Mono [n] at the model's rate -> its sources by name, mono [n] each; chunks are cross-faded linearly."""
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
