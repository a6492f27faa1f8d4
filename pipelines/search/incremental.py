"""Reuses detections of an earlier sweep in a new one: those of pairs of unchanged tracks.

New tracks are searched against everything, old tracks only against new ones. Together with the copied detections, this
equals a full sweep. A copied row keeps its original `coarse_score` (ARCHITECTURE.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from asid_core.matching.detection import Detection
from asid_core.schema import DETECTIONS
from pipelines.store import detections
from pipelines.store.catalogue import Catalogue
from pipelines.store.files import parquet


@dataclass(frozen=True)
class Before:
    """Where an earlier sweep stores the detections of an unchanged query: its id then, and the shard."""

    track_id: str
    shard: int


@dataclass(frozen=True)
class Base:
    """An earlier sweep, and how its track ids have changed. Unchanged ids are not listed."""

    sweep_id: str
    renamed: dict[str, str]  # id then -> current id
    dropped: frozenset[str]  # ids then of tracks that were removed or changed

    def today(self, track_id: str) -> str | None:
        """The current id of one of its tracks; None if that audio no longer exists."""
        return self.renamed.get(track_id) or (None if track_id in self.dropped else track_id)


def find_base(
    catalogue: Catalogue, settings: str, tracks: pa.Table, renames: bool
) -> tuple[Base, dict[str, Before | None]] | None:
    """The newest finished sweep with the same `settings`, and its unchanged tracks by current id.

    The value of a track is None if it was not a query of that sweep. Returns None if there is no such sweep.

    renames: whether tracks with a new id are recognised by their audio.
    """
    ended = [head for head in detections.sweeps(catalogue) if head.get("settings") == settings]
    if not ended:
        return None
    sweep_id = ended[-1]["sweep_id"]
    table = detections.read_tracks(catalogue, sweep_id)
    then = dict(zip(detections.pairs(table), table["shard"].to_pylist(), strict=True))
    now = set(detections.pairs(tracks))
    lost = then.keys() - now
    gone = {content_hash: track_id for track_id, content_hash in sorted(lost)}
    was: dict[str, Before | None] = {}
    renamed: dict[str, str] = {}
    for track_id, content_hash in sorted(now):
        old = track_id
        if (track_id, content_hash) not in then:
            if not renames or content_hash not in gone:
                continue
            old = gone.pop(content_hash)
            renamed[old] = track_id
        shard = then[old, content_hash]
        was[track_id] = None if shard is None else Before(old, shard)
    dropped = {track_id for track_id, _ in lost} - renamed.keys()
    return Base(sweep_id, renamed, frozenset(dropped)), was


def carried(catalogue: Catalogue, base: Base, queries: Iterable[tuple[str, Before]]) -> dict[str, list[Detection]]:
    """Earlier detections of these queries whose reference is also unchanged, by query, with current ids."""
    found: dict[str, list[Detection]] = {}
    by_shard: dict[int, dict[str, str]] = {}
    for track_id, before in queries:
        by_shard.setdefault(before.shard, {})[before.track_id] = track_id
    for shard, wanted in sorted(by_shard.items()):
        with parquet(detections.part(catalogue, base.sweep_id, shard)) as file:
            rows = pa.Table.from_batches(map(detections.in_schema, file.iter_batches()), DETECTIONS)
        for row in rows.filter(pc.is_in(rows["query_id"], value_set=pa.array(wanted, pa.string()))).to_pylist():
            reference = base.today(row["reference_id"])
            if reference is not None:
                query = wanted[row["query_id"]]
                found.setdefault(query, []).append(Detection(**row | {"query_id": query, "reference_id": reference}))
    return found
