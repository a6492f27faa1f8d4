"""What keeps a catalogue in step with its tracks: fingerprints that follow them, and garbage that goes after a while.

Everything here is found by looking at what is committed, so a run that was killed is simply started again. Driver only.
"""

from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq

from pipelines import fingerprints
from pipelines.catalogue import IDS_A_FILTER, WITHDRAWN, Catalogue, is_one_of

log = logging.getLogger(__name__)

Pair = tuple[str, str]  # track_id, content_hash


def follow(catalogue: Catalogue) -> dict[str, str]:
    """Bring every fingerprint table in step with the tracks; today's track_id -> the id it had, of what was renamed.

    A track without fingerprints whose audio is that of a track that is gone takes over its rows; rows of tracks that
    are gone or changed are deleted. Holds 200 bytes a track.
    """
    live = set(catalogue.live().items())
    renamed: dict[str, str] = {}
    for name in fingerprints.tables(catalogue):
        there = set(fingerprints.embedded(catalogue.table(name)))
        stale = {content_hash: track_id for track_id, content_hash in there - live}
        found: dict[Pair, str] = {}
        for track_id, content_hash in sorted(live - there):
            if content_hash in stale:
                found[stale.pop(content_hash), content_hash] = track_id
        pairs = sorted(found)
        for start in range(0, len(pairs), IDS_A_FILTER):
            _rename(catalogue, name, {pair: found[pair] for pair in pairs[start : start + IDS_A_FILTER]})
        drop(catalogue, name, sorted(there - live))
        renamed.update({new: old for (old, _), new in found.items()})
    return renamed


def _rename(catalogue: Catalogue, name: str, ids: dict[Pair, str]) -> None:
    """Append the rows of these tracks under their new ids; those under the old ones are stale then."""
    table: Any = catalogue.table(name)
    dim = table.schema.field("vector").type.list_size

    def rows() -> Iterator[pa.RecordBatch]:
        for batch in table.to_batches(filter=_is_pair(list(ids))):
            keys = zip(*(batch.column(column).to_pylist() for column in ("track_id", "content_hash")), strict=True)
            new = pa.array([ids[key] for key in keys], pa.string())
            yield batch.set_column(batch.schema.get_field_index("track_id"), table.schema.field("track_id"), new)

    fingerprints.append(catalogue, name, fingerprints.write_fragments(catalogue, name, dim, rows()), [])


def drop(catalogue: Catalogue, name: str, pairs: Sequence[Pair]) -> None:
    """Delete the fingerprints of these tracks' audio, and of no other audio of theirs."""
    table: Any = catalogue.table(name)
    for start in range(0, len(pairs), IDS_A_FILTER):
        table.delete(_is_pair(pairs[start : start + IDS_A_FILTER]))


def _is_pair(pairs: Sequence[Pair]) -> str:
    return is_one_of("concat(content_hash, track_id)", ["".join(reversed(pair)) for pair in pairs])


def clean_versions(catalogue: Catalogue, grace_s: float) -> int:
    """Delete versions of the Lance tables older than the grace time, for who still reads one; returns their bytes."""
    freed = 0
    for name in ["tracks", *fingerprints.tables(catalogue)]:
        table: Any = catalogue.table(name)
        if table is not None:
            older = datetime.timedelta(seconds=grace_s)
            freed += table.cleanup_old_versions(older_than=older).bytes_removed
    return freed


def collect(catalogue: Catalogue, grace_s: float) -> tuple[int, int]:
    """Delete segment parts that no track names and reject parts of which nothing stands, older than the grace time.

    Returns how many of each. The grace time must be longer than a run may take: what it has written and not yet
    committed is named by no track either.
    """
    now = time.time()
    segments = {name for name, written in _parts(catalogue, "segments") if now - written > grace_s}
    for batch in catalogue.tracks(columns=["segment_files"]):
        segments.difference_update(batch.column(0).flatten().to_pylist())
    rejects = _superseded(catalogue, now - grace_s)
    for name in [*sorted(segments), *rejects]:  # the oldest first: a withdrawal goes after what it withdraws
        catalogue.location.join(name).delete()
    if segments or rejects:
        log.info("collected %d segment parts and %d reject parts that nothing names", len(segments), len(rejects))
    return len(segments), len(rejects)


def _parts(catalogue: Catalogue, folder: str) -> Iterator[tuple[str, float]]:
    """Part files below a folder of the catalogue, by name: relative name, time of writing."""
    filesystem, root = catalogue.location.arrow()
    found = filesystem.get_file_info(pyarrow.fs.FileSelector(f"{root}/{folder}", recursive=True, allow_not_found=True))
    for entry in sorted(found, key=lambda entry: str(entry.path)):
        if entry.type == pyarrow.fs.FileType.File and entry.path.endswith(".parquet"):
            yield entry.path.removeprefix(root).lstrip("/"), entry.mtime.timestamp()


def _superseded(catalogue: Catalogue, before: float) -> list[str]:
    """Reject parts, oldest first, whose rows were all overtaken by later ones or by the track being accepted."""
    parts = list(_parts(catalogue, "rejects"))
    filesystem, root = catalogue.location.arrow()
    rows: dict[str, list[tuple[str, str]]] = {}
    latest: dict[str, str] = {}
    for name, _ in parts:
        with filesystem.open_input_file(f"{root}/{name}") as stream:
            part = pq.ParquetFile(stream).read(columns=["track_id", "stage"])
        rows[name] = list(zip(part["track_id"].to_pylist(), part["stage"].to_pylist(), strict=True))
        latest |= {track_id: name for track_id, _ in rows[name]}
    accepted = set(catalogue.tracks_of(sorted(latest))["track_id"].to_pylist())
    kept: set[str] = set()
    garbage = []
    for name, written in parts:
        over = all(
            latest[track_id] != name or track_id in accepted or (stage == WITHDRAWN and track_id not in kept)
            for track_id, stage in rows[name]
        )
        if over and written < before:
            garbage.append(name)
        else:
            kept.update(track_id for track_id, _ in rows[name])
    return garbage
