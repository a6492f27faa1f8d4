"""Reads the audio of segments, from segment tables or directly from a file."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from asid_core.config import SAMPLE_RATE_HZ, SegmentConfig
from asid_core.plain_text import shown
from asid_core.signal.level import levelled
from asid_core.signal.pcm import cut, from_pcm
from pipelines.store.catalogue import Catalogue
from pipelines.store.location import Location
from pipelines.store.segments import read_segments

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Segment:
    """A segment of a track with its audio: waveform float32 [lead + core + tail] at 16 kHz.

    The core begins at sample `start_samples` of the track and at sample `lead_samples` of `waveform`.
    """

    track_id: str
    start_samples: int
    lead_samples: int
    core_samples: int
    waveform: Tensor

    @property
    def is_last(self) -> bool:
        """Whether the track ends with this core."""
        return self.lead_samples + self.core_samples >= len(self.waveform)


def segments_of_tracks(
    catalogue: Catalogue, tracks: Iterable[tuple[str, Sequence[str]]], indices: Collection[int] | None = None
) -> Iterator[Segment]:
    """The segments of tracks, given as (track_id, segment_files), in order. Holds at most 16 (22 MB) in memory.

    indices: of the segments to read of each track; None for all. Raises FileNotFoundError for a missing file.
    """
    for track in tracks:
        for batch in read_segments(catalogue, [track], indices):
            for row in batch.to_pylist():
                start = round(row["start_s"] * SAMPLE_RATE_HZ)
                waveform = torch.from_numpy(from_pcm(row["pcm"]))
                yield Segment(row["track_id"], start, row["lead_samples"], row["core_samples"], waveform)


def segments_at(
    catalogue: Catalogue, track_id: str, files: Sequence[str], indices: Collection[int]
) -> Iterator[tuple[int, Segment]]:
    """The segments of a track with these indices, each with its index. Raises FileNotFoundError if one is missing."""
    missing = set(indices)
    for segment in segments_of_tracks(catalogue, [(track_id, files)], indices):
        index = segment.start_samples // catalogue.geometry.core_samples
        missing.discard(index)
        yield index, segment
    if missing:
        raise FileNotFoundError(
            f"segments of {track_id} are missing from {files}; was it segmented again in the meantime?"
        )


def segments_within(catalogue: Catalogue, num_segments: int, start_s: float, end_s: float) -> range:
    """The indices of a track's segments from start_s to end_s; the nearest one if that is outside the track."""
    core_s = catalogue.geometry.core_samples / SAMPLE_RATE_HZ
    first, last = (min(max(0, int(second / core_s)), num_segments - 1) for second in (start_s, end_s))
    return range(first, last + 1)


def segments_of_file(file: str, catalogue: Catalogue, config: SegmentConfig) -> Iterator[Segment]:
    """The segments of a recording (local or s3://), cut as `asid segment` would.

    Raises DecodeError if it cannot be decoded or `asid segment` would reject it (silent, too short), and OSError.
    """
    with Location(file).local_copy() as path, levelled(path, config.max_track_s) as (level, blocks):
        level.judge(config)
        if level.missing_s:
            log.warning(
                "%s: at least %.1f s are missing or damaged; the rest is searched", shown(file), level.missing_s
            )
        for stored in cut(blocks, catalogue.geometry.core_samples, catalogue.geometry.margin_samples):
            waveform = torch.from_numpy(from_pcm(stored.pcm))
            yield Segment(file, stored.start_sample, stored.lead_samples, stored.core_samples, waveform)
