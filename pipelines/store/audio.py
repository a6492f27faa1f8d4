"""Audio as pieces (a core with its neighbours' audio around it), from segment tables or straight from a file."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from asid_core.config import SAMPLE_RATE_HZ, SegmentConfig
from asid_core.plain_text import shown
from asid_core.signal.level import level_of, levelled
from asid_core.signal.pcm import cut, from_pcm
from pipelines.store.catalogue import Catalogue
from pipelines.store.location import Location
from pipelines.store.segments import read_segments

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Piece:
    """One segment: waveform float32 [lead + core + tail]; the core starts at sample `start_samples` of the track."""

    track_id: str
    start_samples: int
    lead_samples: int
    core_samples: int
    waveform: Tensor

    @property
    def is_last(self) -> bool:
        """Whether the track ends with this core: nothing follows it."""
        return self.lead_samples + self.core_samples >= len(self.waveform)


def pieces_of_tracks(
    catalogue: Catalogue, tracks: Iterable[tuple[str, Sequence[str]]], segments: Collection[int] | None = None
) -> Iterator[Piece]:
    """Pieces of (track_id, segment_files), track by track and in order; holds at most 16 segments (22 MB) at a time.

    `segments`: which pieces of each, by index; None: all.
    """
    for track in tracks:
        for batch in read_segments(catalogue, [track], segments):
            for row in batch.to_pylist():
                start = round(row["start_s"] * SAMPLE_RATE_HZ)
                waveform = torch.from_numpy(from_pcm(row["pcm"]))
                yield Piece(row["track_id"], start, row["lead_samples"], row["core_samples"], waveform)


def pieces_of_file(file: str, catalogue: Catalogue, config: SegmentConfig) -> Iterator[Piece]:
    """Pieces of a recording (local or s3://), as `segment` would have cut it.

    Raises DecodeError, also for one that `segment` would refuse as silent or too short; OSError.
    """
    with Location(file).local_copy() as path:
        level = level_of(path, config.max_track_s)
        level.judge(config)
        if level.missing_s:
            log.warning("%s: %.1f s are missing or damaged; the rest is searched", shown(file), level.missing_s)
        for found in cut(levelled(path, level), catalogue.core_samples, catalogue.margin_samples):
            waveform = torch.from_numpy(from_pcm(found.pcm))
            yield Piece(file, found.start_sample, found.lead_samples, found.core_samples, waveform)
