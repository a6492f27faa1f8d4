"""Reuses detections of an earlier sweep in a new one: those of pairs of unchanged tracks.

New tracks are searched against everything. Together with the copied detections, this compares the same pairs as a full
sweep. A copied row keeps its original scores (ARCHITECTURE.md), and of the old pairs no more are verified if the
catalogue has grown since, as a full sweep would.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from asid_core.schema import DETECTIONS
from pipelines.store import detections
from pipelines.store.catalogue import Catalogue
from pipelines.store.files import parquet
from pipelines.store.pairs import PAIR, moved, place_in, without

COPIED_BYTES = 8 * 1024**2  # of parts that become one


@dataclass(frozen=True)
class Base:
    """An earlier sweep, and how its track ids have changed. Unchanged ids are not listed."""

    sweep_id: str
    renamed: dict[str, str]  # id then -> current id
    dropped: frozenset[str]  # ids then of tracks that were removed or changed

    def today(self, track_ids: pa.ChunkedArray) -> pa.ChunkedArray:
        """The current ids of some of its tracks; null where the audio no longer exists."""
        gone = pc.is_in(track_ids, value_set=pa.array(self.dropped, pa.string()))
        return pc.if_else(gone, None, with_names(track_ids, self.renamed))


def with_names(track_ids: pa.ChunkedArray, names: dict[str, str]) -> pa.ChunkedArray:
    """Ids with those in `names` replaced."""
    at = pc.index_in(track_ids, value_set=pa.array(names, pa.string()))
    return pc.coalesce(pa.array(names.values(), pa.string()).take(at.combine_chunks()), track_ids)


def find_base(catalogue: Catalogue, settings: str, tracks: pa.Table) -> tuple[Base, pa.Array] | None:
    """The newest finished sweep with the same `settings`, and whether it has each of `tracks`. None: no such sweep.

    Tracks with a new id are recognised by their audio.
    """
    ended = [head for head in detections.sweeps(catalogue) if head.get("settings") == settings]
    if not ended:
        return None
    sweep_id = ended[-1]["sweep_id"]
    then = detections.read_tracks(catalogue, sweep_id)
    lost = without(then, tracks)
    moves = moved(lost, without(tracks, then))
    known = place_in(tracks, then).is_valid().to_numpy(zero_copy_only=False).copy()
    if moves:
        news = _pairs(moves.values(), [content for _, content in moves])
        known[place_in(news, tracks).to_numpy()] = True
    renamed = {old: new for (old, _), new in moves.items()}
    dropped = set(lost["track_id"].to_pylist()) - renamed.keys()
    return Base(sweep_id, renamed, frozenset(dropped)), pa.array(known)


def _pairs(track_ids: Iterable[str], hashes: Iterable[str]) -> pa.Table:
    return pa.table([pa.array(track_ids, pa.string()), pa.array(hashes, pa.string())], names=PAIR)


def parts_to_copy(catalogue: Catalogue, base: Base) -> list[list[str]]:
    """Names of the parts of the base, in groups of about COPIED_BYTES, each for one part of the new sweep."""
    groups: list[list[str]] = []
    left = 0
    for name, size in detections.part_sizes(catalogue, base.sweep_id).items():
        if left <= 0:
            groups.append([])
            left = COPIED_BYTES
        groups[-1].append(name)
        left -= size
    return groups


def carried(catalogue: Catalogue, base: Base, parts: Sequence[str]) -> pa.Table:
    """The detections (schema.DETECTIONS) in some parts of the base between unchanged tracks, with current ids."""
    found = [DETECTIONS.empty_table()]
    for name in parts:
        with parquet(detections.folder(catalogue, base.sweep_id).join(name)) as file:
            rows = pa.Table.from_batches(map(detections.in_schema, file.iter_batches()), DETECTIONS)
        for column in ("query_id", "reference_id"):
            rows = rows.set_column(rows.schema.get_field_index(column), column, base.today(rows[column]))
        found.append(
            rows.filter(pc.and_(rows["query_id"].is_valid(), rows["reference_id"].is_valid())).cast(DETECTIONS)
        )
    return pa.concat_tables(found)
