"""A few seconds of both sides of a detection, cut from the segment tables: to hear (MP3) and to see (mel spectrogram).

Streams: segments are read once, file by file, and only snippets of the track being read are held.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from asid_core.config import SAMPLE_RATE_HZ, LogMelConfig
from asid_core.signal.pcm import from_pcm
from pipelines.report.findings import Findings
from pipelines.store.catalogue import Catalogue
from pipelines.store.segments import read_segments

CONTEXT_S = 0.5  # heard before and after the matched span
PEAK = 0.9
MOST_GAIN = 10.0  # a quiet side is brought up by 20 dB at most
RANGE_DB = 70.0  # of a picture: what is further below its loudest point is black
SHORTEST_SAMPLES = 1024  # a window of the spectrogram


@dataclass
class Snippet:
    """One side of detection `number` (its row in the findings): int16 samples of the track from `first` on."""

    number: int
    side: str  # 'query' | 'reference'
    track_id: str
    first: int
    pcm: np.ndarray = field(repr=False)
    filled: int = 0  # samples known from the left

    @property
    def start_s(self) -> float:
        return self.first / SAMPLE_RATE_HZ

    @property
    def end(self) -> int:
        return self.first + len(self.pcm)

    def take(self, segment_first: int, pcm: np.ndarray) -> None:
        """Copy what a segment's samples, starting at `segment_first` of the track, have of this snippet."""
        start = max(self.first + self.filled, segment_first)
        stop = min(self.end, segment_first + len(pcm))
        if start < stop:
            self.pcm[start - self.first : stop - self.first] = pcm[start - segment_first : stop - segment_first]
            self.filled = stop - self.first


def wanted(found: Findings, snippets: int, snippet_s: float) -> list[Snippet]:
    """Empty snippets of `snippets` places of each kind: of every relation its best place, then its second best, ...

    Tracks that are no longer there have none.
    """
    made: list[Snippet] = []
    for number in _places_to_hear(found, snippets):
        row = found.rows.slice(number, 1).to_pylist()[0]
        tracks = {side: found.tracks[row[f"{side}_id"]] for side in ("query", "reference")}
        spans = spans_to_hear(row, tracks["query"].duration_s, tracks["reference"].duration_s, snippet_s)
        for side, (start_s, seconds) in spans.items():
            samples = math.floor(seconds * SAMPLE_RATE_HZ)
            if samples >= SHORTEST_SAMPLES:
                empty = np.zeros(samples, "<i2")
                made.append(Snippet(number, side, tracks[side].track_id, round(start_s * SAMPLE_RATE_HZ), empty))
    return made


def _places_to_hear(found: Findings, limit: int) -> list[int]:
    """Numbers of `limit` places of each kind, in order of rows."""
    columns = [found.relations.column(name).to_pylist() for name in ("kind", "first_place", "places")]
    by_kind: dict[str, list[tuple[int, int]]] = {}
    for kind, first, places in zip(*columns, strict=True):
        by_kind.setdefault(kind, []).extend((rank, first + rank) for rank in range(places))
    return sorted(number for ranked in by_kind.values() for _, number in sorted(ranked)[:limit])


def spans_to_hear(
    row: Mapping[str, Any], query_duration_s: float, reference_duration_s: float, longest_s: float
) -> dict[str, tuple[float, float]]:
    """Start and length in seconds of both sides, as far as both tracks reach and neither longer than `longest_s`.

    Both lie on the detection's line `t_reference = t_0 + tempo_ratio * t_query`, so that they can be heard at once.
    """
    ratio, query_s, reference_s = row["tempo_ratio"], row["query_start_s"], row["reference_start_s"]
    before = max(0.0, min(CONTEXT_S, query_s, reference_s / ratio))
    length = min(row["query_end_s"] - query_s + before + CONTEXT_S, longest_s / max(1.0, ratio))
    length = min(length, query_duration_s - query_s + before, (reference_duration_s - reference_s) / ratio + before)
    return {"query": (query_s - before, length), "reference": (reference_s - before * ratio, length * ratio)}


def cut_snippets(catalogue: Catalogue, snippets: Iterable[Snippet]) -> Iterator[Snippet]:
    """The snippets with their audio, as it is found; where a track has become shorter, they end early or are left out.

    Raises FileNotFoundError where a segment file that a live track names is gone.
    """
    waiting: dict[str, list[Snippet]] = {}
    for snippet in snippets:
        waiting.setdefault(snippet.track_id, []).append(snippet)
    rows = catalogue.tracks_of(list(waiting)).select(["track_id", "segment_files"]).to_pylist()
    for batch in read_segments(catalogue, [(row["track_id"], row["segment_files"]) for row in rows]):
        for i, track_id in enumerate(batch.column("track_id").to_pylist()):
            segment_first, pcm = _audio(batch, i)
            for snippet in waiting[track_id]:
                snippet.take(segment_first, pcm)
                if snippet.filled == len(snippet.pcm):
                    yield snippet
            waiting[track_id] = [s for s in waiting[track_id] if s.filled < len(s.pcm)]
    for left in waiting.values():
        for snippet in left:
            if snippet.filled >= SHORTEST_SAMPLES:
                snippet.pcm = snippet.pcm[: snippet.filled]
                yield snippet


def _audio(batch: pa.RecordBatch, i: int) -> tuple[int, np.ndarray]:
    """Sample of the track at which segment `i` starts, its lead included, and its int16 samples (not copied)."""
    core_first = round(batch.column("start_s")[i].as_py() * SAMPLE_RATE_HZ)
    pcm = np.frombuffer(batch.column("pcm")[i].as_buffer(), "<i2")
    return core_first - batch.column("lead_samples")[i].as_py(), pcm


def mp3(snippet: Snippet) -> bytes:
    """About 3 kB a second, mono 16 kHz; brought up to a common peak. MP3 because every browser plays it."""
    import soundfile

    wave = from_pcm(snippet.pcm)
    gain = min(PEAK / max(float(np.abs(wave).max()), 1e-4), MOST_GAIN)
    sink = io.BytesIO()
    soundfile.write(sink, wave * np.float32(gain), SAMPLE_RATE_HZ, format="MP3")
    return sink.getvalue()


def picture(snippet: Snippet) -> dict[str, Any]:
    """Mel spectrogram [bins, frames] of 0..255, base64, row by row from the lowest band; and where it lies."""
    import torch

    from asid_core.signal.log_mel import LogMelFrontEnd

    with torch.no_grad():
        mel = LogMelFrontEnd(LogMelConfig())(torch.from_numpy(from_pcm(snippet.pcm))[None])[0].numpy()
    shades = np.clip((mel - mel.max() + RANGE_DB) / RANGE_DB, 0, 1) * 255
    return {
        "start": round(snippet.start_s, 3),
        "seconds": round(len(snippet.pcm) / SAMPLE_RATE_HZ, 3),
        "bins": mel.shape[0],
        "frames": mel.shape[1],
        "mel": base64.b64encode(shades.astype(np.uint8).tobytes()).decode(),
    }
