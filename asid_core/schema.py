"""Arrow schemas of all tables. Every reader and writer uses these."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

TRACKS = pa.schema(
    [
        pa.field("track_id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        # 128-bit BLAKE2b of the file's bytes, hexadecimal, and the gain of a soft track: Level.audio_hash
        pa.field("content_hash", pa.string(), nullable=False),
        pa.field("size_bytes", pa.int64(), nullable=False),
        pa.field("version", pa.string()),  # ETag, or mtime in ns; reveals a change without reading the file
        pa.field("duration_s", pa.float64(), nullable=False),
        pa.field("source_rate_hz", pa.int32()),
        pa.field("source_channels", pa.int32()),
        pa.field("level_db", pa.float32()),  # RMS of the whole track, dBFS
        pa.field("num_segments", pa.int32(), nullable=False),
        pa.field("segment_files", pa.list_(pa.string()), nullable=False),  # relative to the catalogue
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("title", pa.string()),
        pa.field("artist", pa.string()),
        pa.field("year", pa.int32()),
        pa.field("isrc", pa.string()),
        # older catalogues lack the columns from here on, which then read as null
        pa.field("album", pa.string()),
        pa.field("label", pa.string()),
        pa.field("manifest", pa.string()),  # JSON object of the track's manifest row; null without a manifest
        pa.field("cover", pa.string()),  # file name in covers/ of the front cover's thumbnail; null: none in the tags
    ]
)

SEGMENTS = pa.schema(
    [
        pa.field("track_id", pa.string(), nullable=False),
        pa.field("segment_index", pa.int32(), nullable=False),
        pa.field("start_s", pa.float64(), nullable=False),  # of the core
        pa.field("lead_samples", pa.int32(), nullable=False),
        pa.field("core_samples", pa.int32(), nullable=False),
        pa.field("num_samples", pa.int32(), nullable=False),  # lead + core + tail
        pa.field("pcm", pa.binary(), nullable=False),  # int16 little-endian, 16 kHz mono
    ]
)

REJECTS = pa.schema(
    [
        pa.field("track_id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("error_type", pa.string(), nullable=False),
        pa.field("error", pa.string(), nullable=False),
        # the version that was rejected; an unchanged file is not tried again
        pa.field("size_bytes", pa.int64()),
        pa.field("version", pa.string()),
    ]
)


def fingerprints(dim: int) -> pa.Schema:
    """Schema of fingerprints-<model_id>.lance, with vectors of `dim` values."""
    return pa.schema(
        [
            pa.field("fingerprint_id", pa.string(), nullable=False),  # <content_hash[:16]>-<window_index>
            pa.field("track_id", pa.string(), nullable=False),
            pa.field("content_hash", pa.string(), nullable=False),  # of the audio that was fingerprinted
            pa.field("window_index", pa.int32(), nullable=False),
            pa.field("start_s", pa.float64(), nullable=False),
            pa.field("level_db", pa.float32(), nullable=False),
            pa.field("vector", pa.list_(pa.float32(), dim), nullable=False),
        ]
    )


DETECTIONS = pa.schema(
    [
        pa.field("query_id", pa.string(), nullable=False),
        pa.field("query_start_s", pa.float64(), nullable=False),
        pa.field("query_end_s", pa.float64(), nullable=False),
        pa.field("reference_id", pa.string(), nullable=False),
        pa.field("reference_start_s", pa.float64(), nullable=False),
        pa.field("reference_end_s", pa.float64(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),  # 0..1, calibrated
        pa.field("rerank_score", pa.float32()),  # null if the model has no reranker
        pa.field("coarse_score", pa.float32(), nullable=False),
        pa.field("verify_score", pa.float32()),
        pa.field("verify_margin", pa.float32()),  # verify_score minus the best score at another lag within a second
        pa.field("tempo_ratio", pa.float32(), nullable=False),  # t_reference = t_0 + tempo_ratio * t_query
        pa.field("pitch_semitones", pa.float32()),  # query minus reference
        pa.field("num_windows", pa.int32(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),  # 'sample' | 'duplicate'
        pa.field("direction", pa.float32()),  # probability that the query samples the reference; null: unknown
        # the query plays the reference backwards: its start matches the reference's end; null in older sweeps
        pa.field("reversed", pa.bool_()),
        # phase correlation of the waveforms, 0..1, at the best of the pair's places that match at unchanged pitch and
        # tempo; null: pitch or tempo of this place are changed, no such place matches, or an older sweep
        pa.field("coherence", pa.float32()),
        # of the reference among those of the query, from 1; in a part file, among those of the file
        pa.field("rank", pa.int32(), nullable=False),
        pa.field("sweep_id", pa.string(), nullable=False),
        pa.field("model_id", pa.string(), nullable=False),
    ]
)

# One row per pair of tracks, which combines all its detections (asid_core.matching.relations)
RELATIONS = pa.schema(
    [
        pa.field("query_id", pa.string(), nullable=False),  # the track that samples
        pa.field("reference_id", pa.string(), nullable=False),  # the track that is sampled
        pa.field("kind", pa.string(), nullable=False),  # 'sample' | 'duplicate'
        pa.field("score", pa.float32(), nullable=False),  # of the best place
        # parts of the query that the places cover; a part that matches several places of the reference counts once
        pa.field("times", pa.int32(), nullable=False),
        pa.field("places", pa.int32(), nullable=False),  # number of detections
        pa.field("query_s", pa.float64(), nullable=False),  # length of the query that the places cover
        pa.field("reference_s", pa.float64(), nullable=False),
        pa.field("decided_by", pa.string(), nullable=False),  # basis of the direction: 'years' | 'audio' | 'unknown'
        pa.field("direction", pa.float32()),  # probability of the direction; null: unknown
        # median over the places, each weighted with its length: short places are measured less exactly
        pa.field("tempo_ratio", pa.float32(), nullable=False),
        pa.field("pitch_semitones", pa.float32()),
        pa.field("common_source", pa.int32()),  # number of the group of tracks that share the same material, from 1
        pa.field("source_id", pa.string()),  # the track that all others in the group sample; null: unknown
        pa.field("first_place", pa.int32(), nullable=False),  # row number of its best detection
        pa.field("sweep_id", pa.string(), nullable=False),
        pa.field("model_id", pa.string(), nullable=False),
    ]
)

# Reviewers' verdicts on relations; the latest verdict on a relation counts
VERDICTS = pa.schema(
    [
        pa.field("relation_id", pa.string(), nullable=False),  # identifies the pair of recordings by their audio
        pa.field("verdict", pa.string(), nullable=False),  # 'confirmed' | 'not a sample' | 'unsure' | 'withdrawn'
        pa.field("note", pa.string(), nullable=False),
        pa.field("said_by", pa.string(), nullable=False),
        pa.field("said_at", pa.timestamp("ms", "UTC"), nullable=False),
        pa.field("query_id", pa.string(), nullable=False),  # track ids at that time
        pa.field("reference_id", pa.string(), nullable=False),
    ]
)


def stems(names: Sequence[str]) -> pa.Schema:
    """Schema of training tables. A row is one span of a track, with the PCM and level of each stem in `names`."""
    fields = [
        pa.field("track_id", pa.string(), nullable=False),
        pa.field("span_index", pa.int32(), nullable=False),
        pa.field("start_s", pa.float64(), nullable=False),
        pa.field("num_samples", pa.int32(), nullable=False),
        pa.field("usable", pa.list_(pa.string()), nullable=False),  # stems loud enough to be a sample
    ]
    for name in sorted(names):
        fields.append(pa.field(f"{name}_pcm", pa.binary()))  # as in SEGMENTS; null if the track lacks this stem
        fields.append(pa.field(f"{name}_db", pa.float32()))  # RMS, dBFS; -120 is silence
    return pa.schema(fields)
