"""Waveforms of whole tracks and of spans of tracks, for matching.coherence."""

from __future__ import annotations

import functools

import pyarrow as pa
import torch
from torch import Tensor

from asid_core.config import SAMPLE_RATE_HZ
from asid_core.matching.coherence import RATE_HZ, at_rate, part
from asid_core.signal.pcm import to_pcm
from pipelines.store.audio import Segment, segments_at, segments_within
from pipelines.store.catalogue import Catalogue

STEP = SAMPLE_RATE_HZ // RATE_HZ
KEPT = 8  # segments of references; half a megabyte each


def core_waveform(segment: Segment) -> Tensor:
    """The core of a segment at RATE_HZ, int16. The cores of a track follow one another without a gap."""
    first = segment.lead_samples // STEP
    core = at_rate(segment.waveform)[first : first + segment.core_samples // STEP]
    return torch.from_numpy(to_pcm(core.numpy()))


class ReferenceWaveforms:
    """Waveforms of spans of catalogue tracks."""

    def __init__(self, catalogue: Catalogue, tracks: pa.Table) -> None:
        """tracks: columns track_id, segment_files, num_segments; `span` takes row numbers of it."""
        self._catalogue, self._tracks = catalogue, tracks
        self._core = functools.lru_cache(KEPT)(self._read)

    def span(self, track: int, start_s: float, end_s: float) -> Tensor:
        """The waveform of a track at RATE_HZ from start_s to end_s, zero outside the track: float32.

        Raises FileNotFoundError.
        """
        within = segments_within(self._catalogue, self._tracks["num_segments"][track].as_py(), start_s, end_s)
        first_s = within[0] * self._catalogue.geometry.core_samples / SAMPLE_RATE_HZ
        return part(torch.cat([self._core(track, index) for index in within]), start_s - first_s, end_s - first_s)

    def _read(self, track: int, index: int) -> Tensor:
        track_id, files = (self._tracks[name][track].as_py() for name in ("track_id", "segment_files"))
        ((_, segment),) = segments_at(self._catalogue, track_id, files, {index})
        return core_waveform(segment)
