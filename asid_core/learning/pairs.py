"""Makes training pairs from a batch of spans: a window, and the same window sampled in a synthetic mix."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from asid_core.config import SAMPLE_RATE_HZ, TrainingConfig
from asid_core.learning import augment
from asid_core.learning.degradations import cut_inside
from asid_core.learning.spectra import Spectra

ALIKE = 0.6  # windows of one track with a larger cosine (means removed) may be repetitions of each other
AUDIBLE_DB = -6.0  # a second sample that is softer than this, relative to the first, is not a positive


@dataclass(frozen=True)
class Batch:
    """Waveforms [B, n] float32 at 16 kHz: what is sampled, and the rest of the same span.

    `SpanCache` gives both as `Spectra.prepared` returns them, [B, steps, bands, T].
    stems: bool [B], whether the row has a rest; if not, its `rests` are zeros. track: int64 [B], a number per track.
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
    """Patches [B, F, W] of both sides: row b of `queries` samples row b of `references`.

    For objective `mixes`, row b of `queries` also samples row b - 1 of `references` (for the first row, the last) if
    `second` (bool [B]) is True. ambiguous: bool [B, B], pairs of references that sound alike.
    """

    references: Tensor
    queries: Tensor
    ambiguous: Tensor
    second: Tensor | None = None
    track: Tensor | None = None  # int64 [B], as in Batch; used by classification losses

    def __len__(self) -> int:
        return len(self.references)

    def rows(self, count: int) -> Pairs:
        """The first `count` rows."""
        second = None if self.second is None else self.second[:count]
        track = None if self.track is None else self.track[:count]
        return Pairs(self.references[:count], self.queries[:count], self.ambiguous[:count, :count], second, track)


def second_references(rows: int, device: torch.device) -> Tensor:
    """bool [rows, rows]: query b also samples reference b - 1, as in objective `mixes`."""
    return torch.eye(rows, dtype=torch.bool, device=device).roll(-1, 1)


@torch.no_grad()
def make_pairs(batch: Batch, spectra: Spectra, training: TrainingConfig, difficulty: float) -> Pairs:
    """The training pairs of a batch, mixed by `_mixed_bands`, on the device of the batch."""
    plain, mixed, drawn = _mixed_bands(batch, spectra, training, difficulty)
    references = spectra.patches(plain)
    second = drawn.background_db > AUDIBLE_DB if training.objective == "mixes" else None
    return Pairs(references, spectra.patches(mixed), ambiguous_rows(references, batch.track), second, batch.track)


@torch.no_grad()
def _mixed_bands(
    batch: Batch, spectra: Spectra, training: TrainingConfig, difficulty: float
) -> tuple[Tensor, Tensor, augment.Transform]:
    """Band powers [B, bands, frames] of references and of queries, and the transform of each row.

    The waveforms of the batch must have at least `Spectra.cut_samples` samples. Objective `paper`: (s, T2(T1(s) + n)),
    where n is the other stems of the same span; for a recording without stems, n is the previous row at a random
    level. Objective `mixes`: (A_b + B_b, T(A_b) + T'(B_(b-1))), where B is the rest of a span or, without stems, the
    whole span.
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
    if not batch.stems.any():  # the common case of recordings without stems needs one transform less
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
    """bool [B, B]: pairs of windows of one track that sound alike, such as repetitions of a loop.

    references [B, F, W]; track int64 [B]. The diagonal is False.
    """
    flat = references.flatten(1)
    flat = torch.nn.functional.normalize(flat - flat.mean(1, keepdim=True), dim=1)
    alike = (flat @ flat.T > ALIKE) & (track[:, None] == track)
    return alike.fill_diagonal_(False)
