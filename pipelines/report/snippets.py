"""A few seconds of both sides of a place, cut from the segment tables, to hear and to see.

Segments are read file by file, and the audio of at most PLACES_AT_ONCE places is in memory.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from asid_core.config import SAMPLE_RATE_HZ
from pipelines.report.findings import Findings
from pipelines.store.catalogue import Catalogue
from pipelines.store.segments import read_segments

CONTEXT_S = 0.5  # heard before and after the matched span
PLACES_AT_ONCE = 100  # some 50 MB of samples
BYTES_PER_S = 12_000  # of a side on the page; its sound is there at most twice, as it is and as the query plays it
SHORTEST_SAMPLES = 1024  # one window of the spectrogram
PLACE_COLUMNS = (
    "query_id", "reference_id", "query_start_s", "query_end_s", "reference_start_s", "reference_end_s", "tempo_ratio",
    "pitch_semitones", "reversed",
)  # fmt: skip


@dataclass
class Snippet:
    """`samples` samples of a track from `first` on. `pcm`: int16, of which the first `filled` are known so far."""

    track_id: str
    first: int
    samples: int
    pcm: np.ndarray = field(default_factory=lambda: np.zeros(0, "<i2"), repr=False)
    filled: int = 0

    def with_room(self) -> Snippet:
        """A copy with memory for its samples."""
        return replace(self, pcm=np.zeros(self.samples, "<i2"))

    @property
    def start_s(self) -> float:
        return self.first / SAMPLE_RATE_HZ

    @property
    def end(self) -> int:
        return self.first + self.samples

    def take(self, segment_first: int, pcm: np.ndarray) -> None:
        """Copy the part of this snippet that a segment contains. `segment_first`: its first sample in the track."""
        start = max(self.first + self.filled, segment_first)
        stop = min(self.end, segment_first + len(pcm))
        if start < stop:
            self.pcm[start - self.first : stop - self.first] = pcm[start - segment_first : stop - segment_first]
            self.filled = stop - self.first


@dataclass
class PlaceToHear:
    """Both sides of place `number`, a row of the findings. They start and end on its line."""

    number: int
    query: Snippet
    reference: Snippet
    tempo_ratio: float
    pitch_semitones: float  # 0 if unknown
    is_reversed: bool = False  # the query plays the reference backwards

    def with_room(self) -> PlaceToHear:
        """A copy with memory for the samples of both sides."""
        return replace(self, query=self.query.with_room(), reference=self.reference.with_room())

    def trimmed(self) -> bool:
        """Cut both sides to their common length; False if it is too short. Tracks may have become shorter."""
        if self.is_reversed and self.reference.filled < len(self.reference.pcm):
            return False  # the missing end is what the query starts with
        samples = min(self.query.filled, math.floor(self.reference.filled / self.tempo_ratio))
        self.query.pcm = self.query.pcm[:samples]
        self.reference.pcm = self.reference.pcm[: math.ceil(samples * self.tempo_ratio)]
        return min(len(self.query.pcm), len(self.reference.pcm)) >= SHORTEST_SAMPLES


def places_to_hear(findings: Findings, limit_bytes: float, snippet_s: float) -> list[PlaceToHear]:
    """The places for which the page has room in `limit_bytes`, still without audio.

    Of every relation the best place comes first, then of each the second best, and so on. Places of tracks that are no
    longer there are left out.
    """
    columns = {name: findings.rows.column(name).to_pylist() for name in PLACE_COLUMNS}
    used, places = 0.0, []
    for number in _in_turn(findings):
        row = {name: values[number] for name, values in columns.items()}
        tracks = {side: findings.tracks[row[f"{side}_id"]] for side in ("query", "reference")}
        spans = spans_to_hear(row, tracks["query"].duration_s, tracks["reference"].duration_s, snippet_s)
        if min(seconds for _, seconds in spans.values()) * SAMPLE_RATE_HZ < SHORTEST_SAMPLES:
            continue
        used += BYTES_PER_S * sum(seconds for _, seconds in spans.values())
        if used > limit_bytes:
            break
        sides = {side: _snippet(tracks[side].track_id, *span) for side, span in spans.items()}
        change = row["tempo_ratio"], row["pitch_semitones"] or 0.0, bool(row["reversed"])
        places.append(PlaceToHear(number, sides["query"], sides["reference"], *change))
    return places


def _snippet(track_id: str, start_s: float, seconds: float) -> Snippet:
    return Snippet(track_id, round(start_s * SAMPLE_RATE_HZ), math.floor(seconds * SAMPLE_RATE_HZ))


def _in_turn(findings: Findings) -> list[int]:
    """Numbers of all places: the best of every relation, then the second best of each, and so on."""
    columns = (findings.relations.column(name).to_pylist() for name in ("first_place", "places"))
    ranked = ((rank, first + rank) for first, places in zip(*columns, strict=True) for rank in range(places))
    return [number for _, number in sorted(ranked)]


def spans_to_hear(
    row: Mapping[str, Any], query_duration_s: float, reference_duration_s: float, longest_s: float
) -> dict[str, tuple[float, float]]:
    """Start and length in seconds of both sides, inside both tracks and each at most `longest_s`.

    Both lie on the detection's line `t_reference = t_0 + tempo_ratio * t_query`, so that they can be played together.
    If the reference is played backwards, the line falls from the end of its span.
    """
    ratio, query_s = row["tempo_ratio"], row["query_start_s"]
    if row["reversed"]:
        there_s, room_s = row["reference_end_s"], reference_duration_s - row["reference_end_s"]
    else:
        there_s, room_s = reference_duration_s - row["reference_start_s"], row["reference_start_s"]
    before = max(0.0, min(CONTEXT_S, query_s, room_s / ratio))
    length = min(row["query_end_s"] - query_s + before + CONTEXT_S, longest_s / max(1.0, ratio))
    length = min(length, query_duration_s - query_s + before, there_s / ratio + before)
    first = there_s - (length - before) * ratio if row["reversed"] else row["reference_start_s"] - before * ratio
    return {"query": (query_s - before, length), "reference": (first, length * ratio)}


def cut(catalogue: Catalogue, places: Iterable[PlaceToHear]) -> Iterator[list[PlaceToHear]]:
    """The places with their audio, in batches, without places of which a side has become too short.

    Raises FileNotFoundError if a segment file of a live track is missing.
    """
    remaining = iter(places)
    while batch := [place.with_room() for place in itertools.islice(remaining, PLACES_AT_ONCE)]:
        _fill(catalogue, [side for place in batch for side in (place.query, place.reference)])
        yield [place for place in batch if place.trimmed()]


def _fill(catalogue: Catalogue, snippets: Sequence[Snippet]) -> None:
    waiting: dict[str, list[Snippet]] = {}
    for snippet in snippets:
        waiting.setdefault(snippet.track_id, []).append(snippet)
    rows = catalogue.tracks_of(list(waiting)).select(["track_id", "segment_files"]).to_pylist()
    for batch in read_segments(catalogue, [(row["track_id"], row["segment_files"]) for row in rows]):
        for i, track_id in enumerate(batch.column("track_id").to_pylist()):
            segment_first, pcm = _audio(batch, i)
            for snippet in waiting[track_id]:
                snippet.take(segment_first, pcm)


def _audio(batch: pa.RecordBatch, i: int) -> tuple[int, np.ndarray]:
    """The first sample of segment `i` in the track, including its lead, and its int16 samples (not copied)."""
    core_first = round(batch.column("start_s")[i].as_py() * SAMPLE_RATE_HZ)
    pcm = np.frombuffer(batch.column("pcm")[i].as_buffer(), "<i2")
    return core_first - batch.column("lead_samples")[i].as_py(), pcm
