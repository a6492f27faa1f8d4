"""The Ray task of `segment`: decodes some files, writes part files, returns one outcome per file."""

from __future__ import annotations

import functools
import hashlib
import uuid
from typing import Any

import pyarrow as pa

from asid_core.config import SAMPLE_RATE_HZ, SegmentConfig
from asid_core.schema import REJECTS, TRACKS
from asid_core.signal.decode import AudioInfo, DecodeError, unreadable
from asid_core.signal.level import Level
from asid_core.signal.pcm import cut
from asid_core.signal.resample import resample_blocks
from pipelines.ingest.decoding import IsolatedDecoder
from pipelines.ingest.file_tags import TagReader, with_tags
from pipelines.store import covers
from pipelines.store.location import Location, StorageError
from pipelines.store.segments import SegmentWriter

STAGE = "segment"

# A file to read. known_hash: content hash of the live track with this id; null if there is none.
FILES = pa.schema(
    [
        pa.field("track_id", pa.string()),
        pa.field("uri", pa.string()),
        pa.field("size_bytes", pa.int64()),
        pa.field("version", pa.string()),
        pa.field("title", pa.string()),
        pa.field("artist", pa.string()),
        pa.field("year", pa.int32()),
        pa.field("isrc", pa.string()),
        pa.field("album", pa.string()),
        pa.field("label", pa.string()),
        pa.field("manifest", pa.string()),
        pa.field("cover", pa.string()),
        pa.field("known_hash", pa.string()),
    ]
)

# One row per file, with one of track, reject and same filled. `same`: the live track has the same bytes, so only its
# row in the tracks table changes. missing_s: length of the audio that could not be decoded.
OUTCOMES = pa.schema(
    [
        pa.field("missing_s", pa.float64()),
        pa.field("track", pa.struct(list(TRACKS))),
        pa.field("reject", pa.struct(list(REJECTS))),
        pa.field("same", pa.struct(list(FILES))),
    ]
)

TEMPORARY = ("vanished", "unreadable")  # error types after which the next run tries the file again


@functools.lru_cache(maxsize=1)
def _decoder(timeout_s: float, reader: str) -> IsolatedDecoder:
    """One child process per Ray worker, reused by its tasks."""
    return IsolatedDecoder(timeout_s, reader)


@functools.lru_cache(maxsize=1)
def _tag_reader() -> TagReader:
    """One child process per Ray worker, reused by its tasks."""
    return TagReader()


def segment_batch(batch: pa.Table, catalogue_uri: str, run_id: str, config: SegmentConfig, reader: str) -> pa.Table:
    """Decode and segment the files in `batch` (rows of FILES) into part files; returns rows of OUTCOMES."""
    name = f"segments/{run_id}/part-{uuid.uuid4().hex}.parquet"
    decoder = _decoder(config.decode_timeout_s, reader)
    catalogue = Location(catalogue_uri)
    outcomes = []
    with SegmentWriter(catalogue.join(name)) as writer:
        for file in batch.to_pylist():
            try:
                outcomes.append(_segment_file(file, catalogue, writer, decoder, config, run_id))
            except DecodeError as error:
                writer.forget(file["track_id"])
                outcomes.append({"reject": reject_row(file, error.error_type, error.message)})
    return pa.Table.from_pylist(outcomes, schema=OUTCOMES)


def reject_row(file: dict[str, Any], error_type: str, error: str) -> dict[str, Any]:
    """A row of schema.REJECTS for a file (a dict with at least track_id and uri)."""
    row = {"track_id": file["track_id"], "uri": file["uri"], "stage": STAGE, "error_type": error_type, "error": error}
    temporary = error_type in TEMPORARY
    return row | {"size_bytes": file["size_bytes"], "version": None if temporary else file["version"]}


def _segment_file(
    file: dict[str, Any],
    catalogue: Location,
    writer: SegmentWriter,
    decoder: IsolatedDecoder,
    config: SegmentConfig,
    run_id: str,
) -> dict[str, Any]:
    try:
        with Location(file["uri"]).local_copy() as path:
            file_hash = hash_file(path)
            if file_hash == (file["known_hash"] or "").partition("+")[0]:
                return {"same": _with_tags(file, path, catalogue)}
            tagged = _with_tags(file, path, catalogue)
            info, level, count = _write(path, file["track_id"], writer, decoder, config)
            level.judge(config)
            if gain_db := level.gain_db:  # the level is known only after reading, so read and write again
                writer.forget(file["track_id"])
                _write(path, file["track_id"], writer, decoder, config, gain_db)
    except (FileNotFoundError, PermissionError, IsADirectoryError, StorageError) as error:
        raise unreadable(error) from None
    row = {key: value for key, value in tagged.items() if key != "known_hash"}
    return {
        "missing_s": level.missing_s,
        "track": row
        | {
            "content_hash": level.audio_hash(file_hash),
            "duration_s": level.samples / SAMPLE_RATE_HZ,
            "source_rate_hz": info.rate_hz,
            "source_channels": info.channels,
            "level_db": level.db,
            "num_segments": count,
            "segment_files": [f"segments/{run_id}/{writer.part.name}"],
            "run_id": run_id,
        },
    }


def _with_tags(file: dict[str, Any], path: str, catalogue: Location) -> dict[str, Any]:
    """The file's row with the columns of its tags. The cover is stored in the catalogue."""
    tags = _tag_reader().read(path)
    return with_tags(file, tags) | {"cover": covers.add(catalogue, tags.cover) if tags.cover else None}


def _write(
    path: str,
    track_id: str,
    writer: SegmentWriter,
    decoder: IsolatedDecoder,
    config: SegmentConfig,
    gain_db: float = 0.0,
) -> tuple[AudioInfo, Level, int]:
    """Decode and segment one file; returns its header, level and number of segments. Raises DecodeError."""
    level, count = Level(config.max_track_s), 0
    with decoder.open(path) as (info, blocks):
        level.check_length(info.duration_s or 0.0)  # checked first, to avoid decoding hours of audio in vain
        pcm = level.watch(resample_blocks(level.native(blocks), info.rate_hz), gain_db)
        for segment in cut(pcm, round(config.core_s * SAMPLE_RATE_HZ), round(config.margin_s * SAMPLE_RATE_HZ)):
            writer.add(track_id, segment)
            count += 1
    return info, level, count


def hash_file(path: str) -> str:
    """The 128-bit BLAKE2b digest of a file, in hexadecimal."""
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
