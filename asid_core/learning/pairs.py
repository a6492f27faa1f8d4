"""Training pairs from a batch of spans: what is sampled, and what came of it in another track."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from asid_core.config import SAMPLE_RATE_HZ, TrainingConfig
from asid_core.learning import augment
from asid_core.learning.degradations import cut_inside
from asid_core.learning.spectra import Spectra

ALIKE = 0.6  # cosine of two windows of one track, their means taken away, from which they may be the same bar again
AUDIBLE_DB = -6.0  # below this level, re the sample laid over it, the second sample of a mix is not asked for


@dataclass(frozen=True)
class Batch:
    """Waveforms to make pairs of, [B, n] float32 at 16 kHz: what is sampled, and the rest of the same span.

    Or, from `SpanCache`, what `Spectra.prepared` makes of both, [B, steps, bands, T].
    stems [B] bool: whether the row has a rest, else its `rests` are zeros; track int64 [B]: the same for one track.
    """

    sources: Tensor
    rests: Tensor
    stems: Tensor
    track: Tensor

    def to(self, device: torch.device) -> Batch:
        moved = (x.to(device, non_blocking=True) for x in (self.sources, self.rests, self.stems, self.track))
        return Batch(*moved)


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
    track: Tensor | None = None  # int64 [B], as in Batch: what a loss by recordings goes by

    def __len__(self) -> int:
        return len(self.references)

    def rows(self, count: int) -> Pairs:
        """The first `count` rows."""
        second = None if self.second is None else self.second[:count]
        track = None if self.track is None else self.track[:count]
        return Pairs(self.references[:count], self.queries[:count], self.ambiguous[:count, :count], second, track)


def second_references(rows: int, device: torch.device) -> Tensor:
    """[B, B] bool: of objective `mixes`, that row b of the queries samples row b - 1 of the references as well."""
    return torch.eye(rows, dtype=torch.bool, device=device).roll(-1, 1)


@torch.no_grad()
def make_pairs(batch: Batch, spectra: Spectra, training: TrainingConfig, difficulty: float) -> Pairs:
    """Pairs of a batch as `mixed_bands` mixes it, on its device."""
    plain, mixed, drawn = mixed_bands(batch, spectra, training, difficulty)
    references = spectra.patches(plain)
    second = drawn.background_db > AUDIBLE_DB if training.objective == "mixes" else None
    return Pairs(references, spectra.patches(mixed), ambiguous_rows(references, batch.track), second, batch.track)


@torch.no_grad()
def mixed_bands(
    batch: Batch, spectra: Spectra, training: TrainingConfig, difficulty: float
) -> tuple[Tensor, Tensor, augment.Transform]:
    """Band powers [B, bands, frames] of references and queries, and how each row was transformed.

    The waveforms of the batch hold `Spectra.cut_samples` or more. Objective `paper`: (s, T2(T1(s) + n)) with n the
    other stems of the same span, or the row before laid over it at a drawn level where a recording has no stems.
    Objective `mixes`: (A_b + B_b, T(A_b) + T'(B_(b-1))), B the rest of a span or, without stems, its whole.
    """
    ranges, device, rows = training.augmentation, batch.sources.device, len(batch.sources)
    mixes = training.objective == "mixes"
    stems = batch.stems.view(-1, *[1] * (batch.sources.dim() - 1))
    drawn = augment.draw(ranges, rows, difficulty, device)
    own_background = augment.draw(ranges, rows, difficulty, device)
    frame_s = spectra.config.hop_samples / SAMPLE_RATE_HZ
    spectrum = spectra.stft(batch.sources)
    centre = torch.full((rows,), spectrum.shape[-1] / 2, device=device)
    one = torch.ones_like(centre)

    def heard(of: Tensor, drawn: augment.Transform) -> Tensor:
        pitched = spectra.bands(of, drawn.semitones)
        return spectra.stretched(pitched, centre + drawn.offset_s / frame_s, drawn.ratios, drawn.drift)

    plain = spectra.stretched(spectra.bands(spectrum), centre, one)
    sample = augment.degraded(heard(spectrum, drawn), ranges, difficulty, spectra.band_hz, frame_s)
    sample = augment.coloured(sample, ranges, difficulty, spectra.band_hz, frame_s)
    if ranges.cut_inside > 0:
        cut = torch.rand(rows, device=device) < ranges.cut_inside * difficulty
        sample = cut_inside(sample, cut, spectra.context_frames)
    if not batch.stems.any():  # the usual case of plain recordings: one transform saved
        laid = spectrum.roll(1, 0)
    elif mixes:
        laid = spectra.stft(torch.where(stems, batch.rests, batch.sources).roll(1, 0))
        others = spectra.bands(spectra.stft(batch.rests))
        plain = plain + spectra.stretched(others, centre, one) * batch.stems[:, None, None]
    else:
        laid = spectra.stft(torch.where(stems, batch.rests, batch.sources.roll(1, 0)))
    background = heard(laid, own_background if mixes else drawn)
    mixed = augment.overlaid(sample, background, drawn.background_db)
    if not mixes:
        as_arranged = sample * 10 ** (drawn.gain_db / 10)[:, None, None] + background
        mixed = torch.where(batch.stems[:, None, None], as_arranged, mixed)
    mixed = augment.lossy(mixed, 120 - (120 - ranges.codec_db) * difficulty * torch.rand(rows, device=device))
    return plain, mixed, drawn


def ambiguous_rows(references: Tensor, track: Tensor) -> Tensor:
    """[B, B] bool: other windows of the same track that are alike, a loop's next turn for one. Never the diagonal."""
    flat = references.flatten(1)
    flat = torch.nn.functional.normalize(flat - flat.mean(1, keepdim=True), dim=1)
    alike = (flat @ flat.T > ALIKE) & (track[:, None] == track)
    return alike.fill_diagonal_(False)
