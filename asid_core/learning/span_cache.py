"""Caches spans in memory as band magnitudes, so that a random excerpt is a copy and needs no Fourier transform.

The transform would take most of the time of making a pair, and each span is used hundreds of times.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from asid_core.config import SAMPLE_RATE_HZ, AugmentationConfig
from asid_core.learning.pairs import Batch
from asid_core.learning.spectra import Spectra

LIMIT_BYTES = 6 * 2**30  # per worker; holds 25 h of recordings at 64 log-mel bands and +-4 semitones


@dataclass(frozen=True)
class _Span:
    source: Tensor  # [steps, bands, T] float16
    rest: Tensor | None
    track: int

    @property
    def bytes(self) -> int:
        return sum(part.numel() * part.element_size() for part in (self.source, self.rest) if part is not None)


def excerpt_frames(spectra: Spectra, ranges: AugmentationConfig) -> int:
    """Frames of an excerpt: a window with its context, at any tempo and offset that may be drawn."""
    frame_s = spectra.config.hop_samples / SAMPLE_RATE_HZ
    return math.ceil(spectra.frames * max(1.0, *ranges.tempo_ratios) + 2 * ranges.offset_s / frame_s) + 2


class SpanCache:
    """The spans of one worker. Above LIMIT_BYTES, new spans replace the oldest."""

    def __init__(self, spectra: Spectra, ranges: AugmentationConfig) -> None:
        self.spectra = spectra
        self.frames = excerpt_frames(spectra, ranges)
        self.spans: list[_Span] = []
        self.full = False
        self._bytes = self._oldest = 0

    def __len__(self) -> int:
        return len(self.spans)

    def add(self, batch: Batch) -> None:
        """Add whole spans, given as waveforms [B, n]. The batch determines which stems are sampled."""
        device = self.spectra.filters.device
        for row in range(len(batch.sources)):
            source = self.spectra.prepared(batch.sources[row : row + 1].to(device))[0]
            stems = bool(batch.stems[row])
            rest = self.spectra.prepared(batch.rests[row : row + 1].to(device))[0] if stems else None
            self._keep(_Span(source, rest, int(batch.track[row])))

    def _keep(self, span: _Span) -> None:
        self.full = self.full or self._bytes + span.bytes > LIMIT_BYTES
        self._bytes += span.bytes
        if not self.full:
            self.spans.append(span)
            return
        self._bytes -= self.spans[self._oldest].bytes
        self.spans[self._oldest] = span
        self._oldest = (self._oldest + 1) % len(self.spans)

    def draw(self, rows: int, generator: np.random.Generator) -> Batch:
        """Random excerpts of `rows` spans, different ones if there are enough. Sources [rows, steps, bands, frames]."""
        which = generator.choice(len(self.spans), rows, replace=rows > len(self.spans))
        spans = [self.spans[i] for i in which]
        cuts = [int(generator.integers(max(span.source.shape[2] - self.frames, 0) + 1)) for span in spans]
        parts = [slice(cut, cut + self.frames) for cut in cuts]
        sources = torch.stack([span.source[..., part] for span, part in zip(spans, parts, strict=True)])
        stems = torch.tensor([span.rest is not None for span in spans], device=sources.device)
        rests = torch.zeros_like(sources) if stems.any() else torch.zeros(rows, 1, 1, 1, device=sources.device)
        for i, (span, part) in enumerate(zip(spans, parts, strict=True)):
            if span.rest is not None:
                rests[i] = span.rest[..., part]
        return Batch(sources, rests, stems, torch.tensor([span.track for span in spans], device=sources.device))
