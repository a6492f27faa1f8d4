"""Reuses detections of an earlier sweep in a new one: those of pairs of unchanged tracks.

New tracks are searched against everything. Together with the copied detections, this compares the same pairs as a full
sweep. A copied row keeps its original scores (ARCHITECTURE.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from asid_core.schema import DETECTIONS
from pipelines.store import detections
from pipelines.store.catalogue import Catalogue
from pipelines.store.files import parquet
from pipelines.store.pairs import PAIR, moved, place_in, without


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


def find_base(catalogue: Catalogue, settings: str, tracks: pa.Table) -> tuple[Base, pa.Table] | None:
    """The newest finished sweep with the same `settings`, and where it has each of `tracks`. None: no such sweep.

    The table has a row for each track: `known`, whether the sweep has it; `then_id`, its id then; and `then_shard`,
    the shard with its detections. Tracks with a new id are recognised by their audio.
    """
    ended = [head for head in detections.sweeps(catalogue) if head.get("settings") == settings]
    if not ended:
        return None
    sweep_id = ended[-1]["sweep_id"]
    then = detections.read_tracks(catalogue, sweep_id)
    lost = without(then, tracks)
    moves = moved(lost, without(tracks, then))
    at = pc.fill_null(place_in(tracks, then), -1).to_numpy().copy()
    if moves:
        olds, news = (
            _pairs(ids, [content for _, content in moves]) for ids in ([id for id, _ in moves], moves.values())
        )
        at[place_in(news, tracks).to_numpy()] = place_in(olds, then).to_numpy()
    places = pa.array(at, mask=at < 0)
    was = pa.table(
        {"known": at >= 0, "then_id": then["track_id"].take(places), "then_shard": then["shard"].take(places)}
    )
    renamed = {old: new for (old, _), new in moves.items()}
    dropped = set(lost["track_id"].to_pylist()) - renamed.keys()
    return Base(sweep_id, renamed, frozenset(dropped)), was


def _pairs(track_ids: Iterable[str], hashes: Iterable[str]) -> pa.Table:
    return pa.table([pa.array(track_ids, pa.string()), pa.array(hashes, pa.string())], names=PAIR)


def carried(catalogue: Catalogue, base: Base, queries: Sequence[dict[str, Any]]) -> pa.Table:
    """Earlier detections (schema.DETECTIONS) of some queries whose reference is also unchanged, with current ids.

    queries: rows with track_id, then_id and then_shard. Detections of one query come in their earlier order.
    """
    names: dict[int, dict[str, str]] = {}
    for row in queries:
        if row["then_shard"] is not None:
            names.setdefault(row["then_shard"], {})[row["then_id"]] = row["track_id"]
    found = [DETECTIONS.empty_table()]
    for shard, wanted in sorted(names.items()):
        with parquet(detections.part(catalogue, base.sweep_id, shard)) as file:
            rows = pa.Table.from_batches(map(detections.in_schema, file.iter_batches()), DETECTIONS)
        rows = rows.filter(pc.is_in(rows["query_id"], value_set=pa.array(wanted, pa.string())))
        ids = {"query_id": with_names(rows["query_id"], wanted), "reference_id": base.today(rows["reference_id"])}
        for name, values in ids.items():
            rows = rows.set_column(rows.schema.get_field_index(name), name, values)
        found.append(rows.filter(rows["reference_id"].is_valid()).cast(DETECTIONS))
    return pa.concat_tables(found)
