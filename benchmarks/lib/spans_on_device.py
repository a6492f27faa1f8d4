"""All spans of a training set in the memory of one device, as band magnitudes: a batch is one gather."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from asid_core.config import AugmentationConfig
from asid_core.learning.loop import Loop, validation_pairs
from asid_core.learning.pairs import Batch, Pairs
from asid_core.learning.span_cache import excerpt_frames
from asid_core.learning.spans import track_number
from asid_core.learning.spectra import Spectra
from asid_core.signal.pcm import SCALE

PREPARED_AT_ONCE = 32


class SpansOnDevice:
    """Recordings without stems. Takes 1.2 MB a span of 15 s for log-mel bands at +-4 semitones."""

    def __init__(self, pcm: np.ndarray, track_ids: Sequence[str], spectra: Spectra, ranges: AugmentationConfig) -> None:
        """pcm: int16 [n, samples] at 16 kHz. spectra: on the device that is to hold the spans."""
        self.device = spectra.filters.device
        self.frames = excerpt_frames(spectra, ranges)
        self.tracks = torch.tensor([track_number(track_id) for track_id in track_ids], device=self.device)
        parts = [
            spectra.prepared(torch.from_numpy(pcm[at : at + PREPARED_AT_ONCE]).to(self.device) / SCALE)
            for at in range(0, len(pcm), PREPARED_AT_ONCE)
        ]
        self.spans = torch.cat(parts)  # [n, steps, bands, T]

    def draw(self, rows: int) -> Batch:
        """Random excerpts of `rows` spans, different ones if there are enough, as `SpanCache.draw` gives them."""
        which = torch.randperm(len(self.spans), device=self.device)[:rows]
        if len(which) < rows:
            which = torch.randint(len(self.spans), (rows,), device=self.device)
        room = max(self.spans.shape[3] - self.frames, 0)
        cuts = (torch.rand(rows, device=self.device) * (room + 1)).long().clamp(max=room)
        no_stems = torch.zeros(rows, dtype=torch.bool, device=self.device)
        rests = torch.zeros(rows, 1, 1, 1, device=self.device)
        return Batch(self._cut(which, cuts), rests, no_stems, self.tracks[which])

    def _cut(self, which: Tensor, cuts: Tensor) -> Tensor:
        """`frames` frames of the spans `which` [B] from the frames `cuts` [B] on: [B, steps, bands, frames]."""
        _, steps, bands, frames = self.spans.shape
        at = cuts[:, None] + torch.arange(min(self.frames, frames), device=self.device)
        return self.spans[which].gather(3, at[:, None, None].expand(-1, steps, bands, -1))


def held_out_pairs(spans: SpansOnDevice, batches: int, rows: int, loop: Loop) -> Pairs:
    """Validation pairs of held-out spans, the same for every model."""
    torch.manual_seed(0)
    return validation_pairs([spans.draw(rows) for _ in range(batches)], loop)
