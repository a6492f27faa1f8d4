"""Waveforms of whole tracks and of spans of tracks, for matching.coherence."""

from __future__ import annotations

from collections import OrderedDict

import pyarrow as pa
import torch
import torchaudio.functional
from torch import Tensor

from asid_core.config import SAMPLE_RATE_HZ
from asid_core.matching.coherence import RATE_HZ, part
from asid_core.signal.pcm import to_pcm
from pipelines.store.audio import Segment, segments_of_tracks
from pipelines.store.catalogue import Catalogue

STEP = SAMPLE_RATE_HZ // RATE_HZ
KEPT = 8  # segments of references; half a megabyte each


def core_waveform(segment: Segment) -> Tensor:
    """The core of a segment at RATE_HZ, int16. The cores of a track follow one another without a gap."""
    wave = torchaudio.functional.resample(segment.waveform, SAMPLE_RATE_HZ, RATE_HZ)
    first = segment.lead_samples // STEP
    core = wave[first : first + segment.core_samples // STEP]
    return torch.from_numpy(to_pcm(core.numpy()))


class ReferenceWaveforms:
    """Waveforms of spans of catalogue tracks."""

    def __init__(self, catalogue: Catalogue, tracks: pa.Table) -> None:
        """tracks: columns track_id, segment_files, num_segments; `span` takes row numbers of it."""
        self._catalogue, self._tracks = catalogue, tracks
        self._kept: OrderedDict[tuple[int, int], Tensor] = OrderedDict()

    def span(self, track: int, start_s: float, end_s: float) -> Tensor:
        """The waveform of a track at RATE_HZ from start_s to end_s, zero outside the track: float32.

        Raises FileNotFoundError.
        """
        core_s = self._catalogue.geometry.core_samples / SAMPLE_RATE_HZ
        last = self._tracks["num_segments"][track].as_py() - 1
        first, stop = (min(max(0, int(second / core_s)), last) for second in (start_s, end_s))
        cores = [self._core(track, index) for index in range(first, stop + 1)]
        return part(torch.cat(cores), start_s - first * core_s, end_s - first * core_s)

    def _core(self, track: int, index: int) -> Tensor:
        key = track, index
        if key not in self._kept:
            track_id, files = (self._tracks[name][track].as_py() for name in ("track_id", "segment_files"))
            for segment in segments_of_tracks(self._catalogue, [(track_id, files)], {index}):
                self._kept[key] = core_waveform(segment)
        if key not in self._kept:
            raise FileNotFoundError(
                f"segment {index} of {track_id} is missing; was it segmented again in the meantime?"
            )
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return self._kept[key]
