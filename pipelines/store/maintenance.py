"""What keeps a catalogue in step with its tracks: fingerprints that follow them, and garbage that goes after a while.

Everything here is found by looking at what is committed, so a run that was killed is simply started again. Driver only.
"""

from __future__ import annotations

import contextlib
import datetime
import logging
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.fs

from pipelines.store import detections, fingerprints
from pipelines.store.catalogue import IDS_PER_FILTER, WITHDRAWN, Catalogue, is_one_of
from pipelines.store.files import parquet
from pipelines.store.location import Location

log = logging.getLogger(__name__)

Pair = tuple[str, str]  # track_id, content_hash


def apply_renames(catalogue: Catalogue) -> dict[str, str]:
    """Bring every fingerprint table in step with the tracks; today's track_id -> the id it had, of what was renamed.

    A track without fingerprints whose audio is that of a track that is gone takes over its rows; rows of tracks that
    are gone or changed are deleted. Holds 200 bytes a track.
    """
    catalogue.check_writing()
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
        for start in range(0, len(pairs), IDS_PER_FILTER):
            _rename(catalogue, name, {pair: found[pair] for pair in pairs[start : start + IDS_PER_FILTER]})
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

    written = fingerprints.write_fragments(catalogue, name, dim, rows())
    fingerprints.append(catalogue, name, written, sorted(ids.values()), table.version)


def drop(catalogue: Catalogue, name: str, pairs: Sequence[Pair]) -> None:
    """Delete the fingerprints of these tracks' audio, and of no other audio of theirs."""
    table: Any = catalogue.table(name)
    for start in range(0, len(pairs), IDS_PER_FILTER):
        catalogue.check_writing()
        table.delete(_is_pair(pairs[start : start + IDS_PER_FILTER]))


def _is_pair(pairs: Sequence[Pair]) -> str:
    return is_one_of("concat(content_hash, track_id)", ["".join(reversed(pair)) for pair in pairs])


def clean_versions(catalogue: Catalogue, grace_s: float) -> int:
    """Delete versions of the Lance tables older than the grace time, for who still reads one; returns their bytes.

    The tracks table is compacted first: every commit leaves a fragment. `asid index` does so for fingerprints.
    Fragments that a killed run has written and nobody committed are Lance's to delete: it does, after seven days.
    """
    freed = 0
    for name in ["tracks", *fingerprints.tables(catalogue)]:
        table: Any = catalogue.table(name)
        if table is not None:
            catalogue.check_writing()
            if name == "tracks":
                table.optimize.compact_files()
            older = datetime.timedelta(seconds=grace_s)
            freed += table.cleanup_old_versions(older_than=older).bytes_removed
    return freed


def collect_sweeps(catalogue: Catalogue, grace_s: float) -> int:
    """Delete the files of overtaken sweeps whose newest is older than the grace time; returns how many sweeps.

    Of those that ended under the same settings the newest stays: it is the base of the next. One that never ended goes.
    """
    newest = {head.get("settings"): head["sweep_id"] for head in detections.sweeps(catalogue)}
    gone = 0
    for sweep_id in detections.ids(catalogue):
        files = list(_files(catalogue, f"detections/{sweep_id}"))
        if sweep_id in newest.values() or any(time.time() - written <= grace_s for _, written in files):
            continue
        catalogue.check_writing()
        # the head first: without it a sweep that is half deleted is one that never ended
        for name, _ in sorted(files, key=lambda file: not file[0].endswith(detections.HEAD)):
            catalogue.location.join(name).delete()
        _remove_folder(detections.folder(catalogue, sweep_id))
        gone += 1
    if gone:
        log.info("removed %d sweeps that later ones have overtaken or that never ended", gone)
    return gone


def _remove_folder(place: Location) -> None:
    """An empty local folder; on S3 there are none."""
    if not place.is_s3:
        with contextlib.suppress(OSError):
            os.rmdir(place.uri)


def delete_orphans(catalogue: Catalogue, grace_s: float) -> tuple[int, int]:
    """Delete segment parts that no track names and reject parts of which nothing stands, older than the grace time.

    Returns how many of each. The grace time must be longer than a run may take: what it has written and not yet
    committed is named by no track either. A part of which some tracks are gone stays until all are: parts are of
    `segment.files_per_task` tracks.
    """
    now = time.time()
    segments = {name for name, written in _parts(catalogue, "segments") if now - written > grace_s}
    for batch in catalogue.tracks(columns=["segment_files"]):
        segments.difference_update(batch.column(0).flatten().to_pylist())
    rejects = _superseded(catalogue, now - grace_s)
    catalogue.check_writing()
    for name in [*sorted(segments), *rejects]:  # the oldest first: a withdrawal goes after what it withdraws
        catalogue.location.join(name).delete()
    if segments or rejects:
        log.info("collected %d segment parts and %d reject parts that nothing names", len(segments), len(rejects))
    return len(segments), len(rejects)


def _parts(catalogue: Catalogue, folder: str) -> Iterator[tuple[str, float]]:
    """Part files below a folder of the catalogue, as `_files` gives them."""
    return ((name, written) for name, written in _files(catalogue, folder) if name.endswith(".parquet"))


def _files(catalogue: Catalogue, folder: str) -> Iterator[tuple[str, float]]:
    """Files below a folder of the catalogue, by name: relative name, time of writing."""
    filesystem, root = catalogue.location.arrow()
    found = filesystem.get_file_info(pyarrow.fs.FileSelector(f"{root}/{folder}", recursive=True, allow_not_found=True))
    for entry in sorted(found, key=lambda entry: str(entry.path)):
        if entry.type == pyarrow.fs.FileType.File:
            yield entry.path.removeprefix(root).lstrip("/"), entry.mtime.timestamp()


def _superseded(catalogue: Catalogue, before: float) -> list[str]:
    """Reject parts, oldest first, whose rows were all overtaken by later ones or by the track being accepted."""
    parts = list(_parts(catalogue, "rejects"))
    rows: dict[str, list[tuple[str, str]]] = {}
    latest: dict[str, str] = {}
    for name, _ in parts:
        with parquet(catalogue.location.join(name)) as file:
            part = file.read(columns=["track_id", "stage"])
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
