"""A catalogue with tracks, segments and a sweep's detections, made by hand and without Ray."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from asid_core.config import SAMPLE_RATE_HZ, SegmentConfig
from asid_core.schema import DETECTIONS, TRACKS
from asid_core.signal.pcm import cut, to_pcm
from pipelines.store.catalogue import Catalogue
from pipelines.store.segments import SegmentWriter

GEOMETRY = SegmentConfig(core_s=5.12, margin_s=1.0)
SWEEP = "20260101T000000.000Z-sweep-0000"
SCRIPT = "<script>window.hacked=1</script><img src=x onerror='window.hacked=1'>"
RIGHT_TO_LEFT = "\u202eمرحبا بالعالم"
HOSTILE = {  # track_id -> title
    "a/script.wav": SCRIPT,
    "a/long.wav": "long " * 2000,
    "a/right-to-left.wav": RIGHT_TO_LEFT,
    'a/../../<b>it\'s "here" & there.wav': None,
    "a/control\x01\x1b.wav": "tab\tand\nline\x00",
}


def wave(seed: int, seconds: float) -> np.ndarray:
    """Notes that change every quarter of a second: float32 [n]."""
    rng = np.random.default_rng(seed)
    hz = np.repeat(rng.choice([220, 262, 330, 392, 440, 523], int(seconds * 4) + 1), SAMPLE_RATE_HZ // 4)
    phase = 2 * np.pi * np.cumsum(hz[: round(seconds * SAMPLE_RATE_HZ)]) / SAMPLE_RATE_HZ
    return (0.3 * np.sin(phase) + 0.1 * np.sin(3 * phase)).astype(np.float32)


def add_tracks(
    catalogue: Catalogue, tracks: Mapping[str, np.ndarray], part: str = "0", **known: Mapping[str, Any]
) -> None:
    """Commit tracks with their audio in one part file; `known`: title, artist or year by track_id."""
    name = f"segments/r/part-{part}.parquet"
    rows = []
    with SegmentWriter(catalogue.location.join(name)) as writer:
        for track_id, samples in tracks.items():
            segments = list(cut([to_pcm(samples)], catalogue.geometry.core_samples, catalogue.geometry.margin_samples))
            for segment in segments:
                writer.add(track_id, segment)
            row = {
                "track_id": track_id,
                "uri": "/music/x.wav",
                "content_hash": f"hash of {track_id!r}",
                "size_bytes": 1,
                "run_id": "r",
            }
            row |= {
                "duration_s": len(samples) / SAMPLE_RATE_HZ,
                "num_segments": len(segments),
                "segment_files": [f"segments/r/{writer.part.name}"],
            }
            rows.append(row | {key: values.get(track_id) for key, values in known.items()})
    with catalogue.writing("test"):
        catalogue.commit_tracks(pa.Table.from_pylist(rows, schema=TRACKS))


def detection(query: str, reference: str, score: float = 0.9, **more: Any) -> dict[str, Any]:
    """A row of schema.DETECTIONS: seconds 2 to 6 of the query play seconds 6 to 10 of the reference."""
    row: dict[str, Any] = {
        "query_id": query, "query_start_s": 2.0, "query_end_s": 6.0, "reference_id": reference,
        "reference_start_s": 6.0, "reference_end_s": 10.0, "score": score, "rerank_score": None, "coarse_score": 0.8,
        "verify_score": 0.7, "verify_margin": 0.4, "tempo_ratio": 1.0, "pitch_semitones": 0.0, "num_windows": 25,
        "kind": "sample", "rank": 1, "sweep_id": SWEEP, "model_id": "m",
    }  # fmt: skip
    return row | more


def add_sweep(catalogue: Catalogue, rows: Sequence[dict[str, Any]], sweep_id: str = SWEEP, **head: Any) -> None:
    """Write detections in two files, then sweep.json with the further values `head`."""
    place = catalogue.location.join("detections", sweep_id)
    for i in range(2):
        with place.join(f"part-{i}.parquet").writing() as stream:
            pq.write_table(pa.Table.from_pylist(list(rows[i::2]), schema=DETECTIONS), stream)
    place.join("sweep.json").write_bytes(json.dumps({"sweep_id": sweep_id, "model_id": "m", **head}).encode())


def make(uri: str) -> Catalogue:
    """Ten tracks of 12 s, five with hostile names; seven samples, one near-duplicate."""
    catalogue = Catalogue(uri, create=True, geometry=GEOMETRY)
    ids = [*HOSTILE, "b/old.wav", "b/young.wav", "b/plain.wav", "b/copy.wav", "b/other.wav"]
    artists = {"b/old.wav": "The Olds", "b/young.wav": "MC Young", "b/other.wav": "The Olds"}
    years = {"b/old.wav": 1971, "b/young.wav": 1994, "b/other.wav": 1988}
    audio = {track_id: wave(i, 12.0) for i, track_id in enumerate(ids)}
    add_tracks(catalogue, audio, title=HOSTILE, artist=artists, year=years)
    script, long, right_to_left, path, control = HOSTILE
    add_sweep(
        catalogue,
        [
            detection("b/old.wav", "b/young.wav", 0.95, tempo_ratio=0.8, pitch_semitones=-2.0),  # from the wrong side
            detection("b/plain.wav", script, 0.9, query_start_s=0.0, tempo_ratio=1.25, pitch_semitones=3.86),
            detection(long, right_to_left, 0.85),
            detection(path, control, 0.8),
            detection("b/other.wav", "b/old.wav", 0.7),
            detection("b/other.wav", "b/old.wav", 0.6, query_start_s=8.0, query_end_s=11.5),
            detection("b/young.wav", "gone.wav", 0.5),
            detection("b/copy.wav", "b/plain.wav", 0.99, kind="duplicate", query_start_s=0.0, query_end_s=12.0),
        ],
    )
    return catalogue
