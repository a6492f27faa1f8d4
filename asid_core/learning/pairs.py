"""Training pairs from a batch of spans: what is sampled, and what came of it in another track."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from asid_core.config import SAMPLE_RATE_HZ, Training
from asid_core.learning import augment
from asid_core.learning.spectra import Spectra

ALIKE = 0.6  # cosine of two windows of one track, their means taken away, from which they may be the same bar again


@dataclass(frozen=True)
class Pairs:
    """Patches of both sides [B, F, W]: row b of `queries` samples row b of `references`.

    For objective `mixes` row b of `queries` samples row b - 1 of `references` as well (the first row the last), as far
    as `second` [B] says so. `ambiguous` [B, B] says which references sound like reference b though they are not.
    """

    references: Tensor
    queries: Tensor
    ambiguous: Tensor
    second: Tensor | None = None


@torch.no_grad()
def make_pairs(
    sources: Tensor, rests: Tensor | None, track: Tensor, spectra: Spectra, training: Training, hardness: float
) -> Pairs:
    """Pairs of a batch, on its device.

    sources [B, n]: what is sampled; rests [B, n]: the other stems of the same span, or None for recordings without
    stems, whose rest is then the row before. track [B]: which rows are of one track. n >= `Spectra.cut_samples`.
    """
    ranges, device, batch = training.augmentation, sources.device, sources.shape[0]
    drawn = augment.draw(ranges, batch, hardness, device)
    frame_s = spectra.config.hop_samples / SAMPLE_RATE_HZ
    spectrum = spectra.stft(sources)
    centre = torch.full((batch,), spectrum.shape[2] / 2, device=device)
    moved = centre + drawn.offset_s / frame_s
    one = torch.ones_like(centre)
    plain = spectra.stretched(spectra.bands(spectrum), centre, one)
    sample = spectra.stretched(spectra.bands(spectrum, drawn.semitones), moved, drawn.ratios)
    sample = augment.coloured(sample, ranges, hardness, spectra.band_hz, frame_s)

    mixes = training.objective == "mixes"
    laid = spectrum.roll(1, 0) if rests is None else spectra.stft(rests.roll(1, 0) if mixes else rests)
    bed_drawn = augment.draw(ranges, batch, hardness, device) if mixes or rests is None else drawn
    # the bed of `mixes` is a sample too, so it too may start a little early or late, from its own middle
    bed_centre = centre + bed_drawn.offset_s / frame_s
    bed = spectra.stretched(spectra.bands(laid, bed_drawn.semitones), bed_centre, bed_drawn.ratios)
    if rests is None or mixes:
        mixed = augment.overlaid(sample, bed, drawn.bed_db)
    else:
        mixed = sample * 10 ** (drawn.gain_db / 10)[:, None, None] + bed
    mixed = augment.lossy(mixed, 120 - (120 - ranges.codec_db) * hardness * torch.rand(batch, device=device))
    if mixes and rests is not None:
        plain = plain + spectra.stretched(spectra.bands(spectra.stft(rests)), centre, one)
    references = spectra.patches(plain)
    return Pairs(
        references,
        spectra.patches(mixed),
        ambiguous_rows(references, track),
        drawn.bed_db > -6 if mixes else None,
    )


def ambiguous_rows(references: Tensor, track: Tensor) -> Tensor:
    """[B, B] bool: other windows of the same track that are alike, a loop's next turn for one. Never the diagonal."""
    flat = references.flatten(1)
    flat = torch.nn.functional.normalize(flat - flat.mean(1, keepdim=True), dim=1)
    alike = (flat @ flat.T > ALIKE) & (track[:, None] == track)
    return alike.fill_diagonal_(False)
