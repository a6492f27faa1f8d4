"""Keeps a catalogue consistent with its tracks: moves fingerprints of renamed files, and deletes unused data.

All functions work from what is committed, so a killed run is simply started again. Driver only.
"""

from __future__ import annotations

import datetime
import itertools
import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.fs

from pipelines.store import covers, detections, fingerprints, pairs, tags
from pipelines.store.catalogue import IDS_PER_FILTER, WITHDRAWN, Catalogue, is_one_of
from pipelines.store.embedded import embedded
from pipelines.store.files import parquet

log = logging.getLogger(__name__)

Pair = tuple[str, str]  # track_id, content_hash


def apply_renames(catalogue: Catalogue) -> dict[str, str]:
    """Update every fingerprint table after renames, removals and changes; returns new track_id -> old track_id.

    A track without fingerprints takes over the rows of a removed track with the same audio. The other rows of removed
    or changed tracks are deleted.
    """
    catalogue.check_writing()
    live = catalogue.live()
    renamed: dict[str, str] = {}
    for name in fingerprints.tables(catalogue):
        there = embedded(catalogue, name, catalogue.table(name))
        stale = pairs.without(there, live)
        moves = pairs.moved(stale, pairs.without(live, there))
        ordered = sorted(moves)
        for start in range(0, len(ordered), IDS_PER_FILTER):
            _rename(catalogue, name, {pair: moves[pair] for pair in ordered[start : start + IDS_PER_FILTER]})
        drop(catalogue, name, sorted(pairs.as_tuples(stale)))
        renamed.update({new: old for (old, _), new in moves.items()})
    return renamed


def _rename(catalogue: Catalogue, name: str, ids: dict[Pair, str]) -> None:
    """Append copies of these tracks' rows under the new ids. The caller deletes the rows under the old ids."""
    table: Any = catalogue.table(name)
    dim = table.schema.field("vector").type.list_size

    def rows() -> Iterator[pa.RecordBatch]:
        for batch in table.to_batches(filter=_is_pair(list(ids))):
            keys = zip(*(batch.column(column).to_pylist() for column in ("track_id", "content_hash")), strict=True)
            new = pa.array([ids[key] for key in keys], pa.string())
            yield batch.set_column(batch.schema.get_field_index("track_id"), table.schema.field("track_id"), new)

    written = fingerprints.write_fragments(catalogue, name, dim, rows())
    fingerprints.append(catalogue, name, written, sorted(ids.values()), table.version)


def drop(catalogue: Catalogue, name: str, gone: Sequence[Pair]) -> None:
    """Delete the fingerprints with these (track_id, content_hash), keeping those of the same tracks' other audio."""
    table: Any = catalogue.table(name)
    for start in range(0, len(gone), IDS_PER_FILTER):
        catalogue.check_writing()
        table.delete(_is_pair(gone[start : start + IDS_PER_FILTER]))


def _is_pair(wanted: Sequence[Pair]) -> str:
    """An SQL filter for the rows of these tracks. The ids alone are looked up in the index, which knows no pairs."""
    ids = is_one_of("track_id", [track_id for track_id, _ in wanted])
    return f"{ids} AND " + is_one_of("concat(content_hash, track_id)", ["".join(reversed(pair)) for pair in wanted])


def clean_versions(catalogue: Catalogue, grace_s: float) -> int:
    """Delete versions of the Lance tables that are older than `grace_s` seconds and in no tag; returns the bytes freed.

    The tracks table is compacted first, because every commit adds a fragment; `asid index` compacts the fingerprints.
    Lance itself deletes the uncommitted fragments of killed runs after seven days.
    """
    freed = 0
    for name in ["tracks", *fingerprints.tables(catalogue)]:
        table: Any = catalogue.table(name)
        if table is not None:
            catalogue.check_writing()
            if name == "tracks":
                table.optimize.compact_files()
            older = datetime.timedelta(seconds=grace_s)
            stats = table.cleanup_old_versions(older_than=older, error_if_tagged_old_versions=False)
            freed += stats.bytes_removed
    return freed


def delete_old_sweeps(catalogue: Catalogue, grace_s: float) -> int:
    """Delete sweeps that are superseded or unfinished and unchanged for `grace_s` seconds; returns their number.

    Keeps the newest finished sweep of each setting, because the next incremental sweep starts from it, and those of
    tags.
    """
    newest = {head.get("settings"): head["sweep_id"] for head in detections.sweeps(catalogue)}
    kept = tags.sweep_ids(catalogue) | set(newest.values())
    deleted = 0
    for sweep_id in detections.ids(catalogue):
        files = list(_files(catalogue, f"detections/{sweep_id}"))
        if sweep_id in kept or any(time.time() - written <= grace_s for _, written in files):
            continue
        detections.delete(catalogue, sweep_id)
        deleted += 1
    if deleted:
        log.info("deleted %d superseded or unfinished sweeps", deleted)
    return deleted


def delete_orphans(catalogue: Catalogue, grace_s: float) -> tuple[int, int]:
    """Delete segment parts that no live or tagged track uses and superseded reject parts; returns both counts.

    Deletes the covers that no such track uses, too. Only files older than `grace_s` seconds are deleted. This must be
    longer than any run, because no track uses the uncommitted parts of a running one. A part is kept until all of its
    tracks are gone.
    """
    now = time.time()
    segments = {name for name, written in _parts(catalogue, "segments") if now - written > grace_s}
    unused_covers = {name for name, written in _files(catalogue, covers.FOLDER) if now - written > grace_s}
    columns = ["segment_files", "cover"]
    for batch in itertools.chain(catalogue.tracks(columns), tags.tracks(catalogue, columns)):
        segments.difference_update(batch.column(0).flatten().to_pylist())
        unused_covers.difference_update(f"{covers.FOLDER}/{name}" for name in batch.column(1).to_pylist())
    rejects = _superseded(catalogue, now - grace_s)
    catalogue.check_writing()
    catalogue.location.delete_below([*segments, *unused_covers])
    for name in rejects:  # oldest first, so that a withdrawal is deleted after the rejects that it cancels
        catalogue.location.join(name).delete()
    if segments or rejects:
        log.info("deleted %d segment parts and %d reject parts no longer used", len(segments), len(rejects))
    return len(segments), len(rejects)


def _parts(catalogue: Catalogue, folder: str) -> Iterator[tuple[str, float]]:
    """The Parquet files among `_files`."""
    return ((name, written) for name, written in _files(catalogue, folder) if name.endswith(".parquet"))


def _files(catalogue: Catalogue, folder: str) -> Iterator[tuple[str, float]]:
    """Files below a folder of the catalogue in order of name: (relative name, Unix time of writing)."""
    filesystem, root = catalogue.location.arrow()
    selector = pyarrow.fs.FileSelector(f"{root}/{folder}", recursive=True, allow_not_found=True)
    for entry in sorted(filesystem.get_file_info(selector), key=lambda entry: str(entry.path)):
        if entry.type == pyarrow.fs.FileType.File:
            yield entry.path.removeprefix(root).lstrip("/"), entry.mtime.timestamp()


def _superseded(catalogue: Catalogue, before: float) -> list[str]:
    """Reject parts, oldest first, all of whose rows are superseded by later ones or by accepted tracks."""
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
