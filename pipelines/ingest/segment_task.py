"""What one Ray task of `segment` does: some files in, part files and one outcome a file out."""

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
from pipelines.store.location import Location, StorageError
from pipelines.store.segments import SegmentWriter

STAGE = "segment"

# A file to try. known_hash: the content hash of the live track of this id, null where there is none
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
        pa.field("known_hash", pa.string()),
    ]
)

# One row a file, one of track, reject and same filled. `same`: the live track has these very bytes; only the file's row
# changes. missing_s: seconds of the track that the file should have and does not
OUTCOMES = pa.schema(
    [
        pa.field("missing_s", pa.float64()),
        pa.field("track", pa.struct(list(TRACKS))),
        pa.field("reject", pa.struct(list(REJECTS))),
        pa.field("same", pa.struct(list(FILES))),
    ]
)

# Not the file's fault, or soon mended: tried again by the next run
PASSING = ("vanished", "unreadable")


@functools.lru_cache(maxsize=1)
def _decoder(timeout_s: float, reader: str) -> IsolatedDecoder:
    """One child a Ray worker, kept over its tasks."""
    return IsolatedDecoder(timeout_s, reader)


@functools.lru_cache(maxsize=1)
def _tag_reader() -> TagReader:
    """One child a Ray worker, kept over its tasks."""
    return TagReader()


def segment_batch(batch: pa.Table, catalogue_uri: str, run_id: str, config: SegmentConfig, reader: str) -> pa.Table:
    """Decode and cut the files of `batch` (FILES) into part files; returns OUTCOMES."""
    name = f"segments/{run_id}/part-{uuid.uuid4().hex}.parquet"
    decoder = _decoder(config.decode_timeout_s, reader)
    outcomes = []
    with SegmentWriter(Location(catalogue_uri).join(name)) as writer:
        for file in batch.to_pylist():
            try:
                outcomes.append(_segment_file(file, writer, decoder, config, run_id))
            except DecodeError as error:
                writer.forget(file["track_id"])
                outcomes.append({"reject": reject_row(file, error.error_type, error.message)})
    return pa.Table.from_pylist(outcomes, schema=OUTCOMES)


def reject_row(file: dict[str, Any], error_type: str, error: str) -> dict[str, Any]:
    """A row of schema.REJECTS for a file (a dict with at least track_id and uri)."""
    row = {"track_id": file["track_id"], "uri": file["uri"], "stage": STAGE, "error_type": error_type, "error": error}
    passing = error_type in PASSING
    return row | {"size_bytes": file["size_bytes"], "version": None if passing else file["version"]}


def _segment_file(
    file: dict[str, Any], writer: SegmentWriter, decoder: IsolatedDecoder, config: SegmentConfig, run_id: str
) -> dict[str, Any]:
    try:
        with Location(file["uri"]).local_copy() as path:
            content_hash = hash_file(path)
            if content_hash == file["known_hash"]:
                return {"same": with_tags(file, _tag_reader().read(path))}
            tags = _tag_reader().read(path)
            info, level, count = _write(path, file["track_id"], writer, decoder, config)
            level.judge(config)
            if gain_db := level.gain_db:  # known only now that it has been read: again, louder
                writer.forget(file["track_id"])
                _write(path, file["track_id"], writer, decoder, config, gain_db)
    except (FileNotFoundError, PermissionError, IsADirectoryError, StorageError) as error:
        raise unreadable(error) from None
    row = {key: value for key, value in with_tags(file, tags).items() if key != "known_hash"}
    return {
        "missing_s": level.missing_s,
        "track": row
        | {
            "content_hash": content_hash,
            "duration_s": level.samples / SAMPLE_RATE_HZ,
            "source_rate_hz": info.rate_hz,
            "source_channels": info.channels,
            "level_db": level.db,
            "num_segments": count,
            "segment_files": [f"segments/{run_id}/{writer.part.name}"],
            "run_id": run_id,
        },
    }


def _write(
    path: str,
    track_id: str,
    writer: SegmentWriter,
    decoder: IsolatedDecoder,
    config: SegmentConfig,
    gain_db: float = 0.0,
) -> tuple[AudioInfo, Level, int]:
    """Decode and cut one file; the header, the level and the number of segments. Raises DecodeError."""
    level, count = Level(config.max_track_s), 0
    with decoder.open(path) as (info, blocks):
        level.check_length(info.duration_s or 0.0)  # before 12 h are decoded for nothing
        pcm = level.watch(resample_blocks(level.native(blocks), info.rate_hz), gain_db)
        for segment in cut(pcm, round(config.core_s * SAMPLE_RATE_HZ), round(config.margin_s * SAMPLE_RATE_HZ)):
            writer.add(track_id, segment)
            count += 1
    return info, level, count


def hash_file(path: str) -> str:
    """blake2b-128 of a file's bytes, hex."""
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
