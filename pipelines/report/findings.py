"""The detections of a sweep as people read them: the best ones, oriented by year, with titles, artists and years."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from asid_core.schema import DETECTIONS
from pipelines.store import detections
from pipelines.store.catalogue import Catalogue, CatalogueError

KINDS = ("sample", "duplicate")
TEXT_LIMIT = 200  # characters of a title: some are whole lyrics, and a page of 2000 rows must stay small
SAME_SPAN = 0.5  # of the shorter span: what overlaps more is one finding seen from both sides
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
SIDES = ("query", "reference")


@dataclass(frozen=True)
class Track:
    """What is shown of a track. One that has left the catalogue since the sweep is only an id, of 0 s."""

    track_id: str
    title: str | None = None
    artist: str | None = None
    year: int | None = None
    duration_s: float = 0.0

    @property
    def label(self) -> str:
        """Artist and title where known, else the last part of the id."""
        title = self.title or self.track_id.rsplit("/", 1)[-1]
        return f"{self.artist} - {title}" if self.artist else title


@dataclass(frozen=True)
class Findings:
    """`rows` (schema.DETECTIONS): samples, then duplicates, each by falling score; `found`: all there are of each."""

    sweep_id: str
    model_id: str
    rows: pa.Table
    tracks: Mapping[str, Track]
    found: Mapping[str, int]

    def count(self, kind: str) -> int:
        return int(pc.sum(pc.equal(self.rows.column("kind"), kind)).as_py() or 0)


def findings(catalogue: Catalogue, limit: int, min_score: float | None = None) -> Findings:
    """The best `limit` samples and the best `limit` duplicates of the newest sweep, from `min_score` on (default: the
    sweep's own threshold).

    Where the years of both tracks are known, the older one is the reference; a pair that was found from both sides
    at the same place is one row. Raises CatalogueError where no sweep has ended.
    """
    head = newest_sweep(catalogue)
    least = detections.threshold(head) if min_score is None else min_score
    kept, found = _best(detections.batches(catalogue, head["sweep_id"], least), limit)
    tracks = _tracks(catalogue, pa.concat_tables(kept.values()))
    for kind in KINDS:
        once = without_mirrored(older_is_reference(kept[kind], tracks))
        found[kind] -= kept[kind].num_rows - once.num_rows
        kept[kind] = once
    rows = pa.concat_tables([kept[kind] for kind in KINDS])
    return Findings(head["sweep_id"], head["model_id"], rows, tracks, found)


def newest_sweep(catalogue: Catalogue) -> dict[str, Any]:
    """sweep.json of the newest sweep that ended. Raises CatalogueError where there is none."""
    ended = detections.sweeps(catalogue)
    if not ended:
        uri = catalogue.location
        raise CatalogueError(f"no detections in {uri}; make some with `asid sweep --catalogue {uri}`")
    return ended[-1]


def _best(batches: Iterable[pa.RecordBatch], limit: int) -> tuple[dict[str, pa.Table], dict[str, int]]:
    """The best rows of each kind and how many there were; holds at most a few times `limit` rows."""
    kept = {kind: DETECTIONS.empty_table() for kind in KINDS}
    found = dict.fromkeys(KINDS, 0)
    for batch in batches:
        rows_of_all = pa.Table.from_batches([batch]).cast(DETECTIONS)
        for kind in KINDS:
            rows = rows_of_all.filter(pc.equal(rows_of_all.column("kind"), kind))
            found[kind] += rows.num_rows
            kept[kind] = pa.concat_tables([kept[kind], rows])
            if kept[kind].num_rows > 2 * limit + rows.num_rows:
                kept[kind] = _by_score(kept[kind]).slice(0, limit)
    return {kind: _by_score(rows).slice(0, limit) for kind, rows in kept.items()}, found


def _by_score(rows: pa.Table) -> pa.Table:
    ties = ("query_id", "query_start_s", "reference_id", "reference_start_s")
    return rows.sort_by([("score", "descending"), *((name, "ascending") for name in ties)])


def _tracks(catalogue: Catalogue, rows: pa.Table) -> dict[str, Track]:
    chunks = rows.column("query_id").chunks + rows.column("reference_id").chunks
    ids = pc.unique(pa.chunked_array(chunks, pa.string())).to_pylist()
    tracks = {track_id: Track(track_id) for track_id in ids}
    names = ["track_id", "title", "artist", "year", "duration_s"]
    for row in catalogue.tracks_of(ids).select(names).to_pylist():
        text = {key: shorten(row[key]) for key in ("title", "artist")}
        tracks[row["track_id"]] = Track(**(row | text))
    return tracks


def shorten(text: str | None) -> str | None:
    """At most TEXT_LIMIT characters on one line, without control characters; None for nothing but spaces."""
    line = " ".join(CONTROL.sub(" ", (text or "")[: 10 * TEXT_LIMIT]).split())
    return (line if len(line) <= TEXT_LIMIT else line[: TEXT_LIMIT - 1] + "…") or None


def older_is_reference(rows: pa.Table, tracks: Mapping[str, Track]) -> pa.Table:
    """Turn the rows whose query is older than their reference; rows without both years stay."""
    years = [[tracks[track_id].year for track_id in rows.column(f"{side}_id").to_pylist()] for side in SIDES]
    turn = pa.array([bool(q and r and q < r) for q, r in zip(*years, strict=True)], pa.bool_())
    columns = {name: rows.column(name) for name in rows.column_names}
    for name in ("id", "start_s", "end_s"):
        query, reference = columns[f"query_{name}"], columns[f"reference_{name}"]
        columns[f"query_{name}"] = pc.if_else(turn, reference, query)
        columns[f"reference_{name}"] = pc.if_else(turn, query, reference)
    ratio, pitch = columns["tempo_ratio"], columns["pitch_semitones"]
    columns["tempo_ratio"] = pc.if_else(turn, pc.divide(pa.scalar(1.0, pa.float32()), ratio), ratio)
    columns["pitch_semitones"] = pc.if_else(turn, pc.negate(pitch), pitch)
    return pa.table(columns).cast(DETECTIONS)


def without_mirrored(rows: pa.Table) -> pa.Table:
    """Of rows that say the same of the same two tracks, in either direction, the one with the best score."""
    kept: dict[tuple[str, str], list[tuple[Any, ...]]] = {}
    mask = np.ones(rows.num_rows, bool)
    names = ("query_id", "reference_id", "query_start_s", "query_end_s", "reference_start_s", "reference_end_s")
    columns = [rows.column(name).to_pylist() for name in names]
    for i, (query, reference, *spans) in enumerate(zip(*columns, strict=True)):
        one, other = (spans[:2], spans[2:]) if query < reference else (spans[2:], spans[:2])
        others = kept.setdefault((min(query, reference), max(query, reference)), [])
        if any(_overlap(one, a) > SAME_SPAN and _overlap(other, b) > SAME_SPAN for a, b in others):
            mask[i] = False
        else:
            others.append((one, other))
    return rows.filter(pa.array(mask))


def _overlap(a: Any, b: Any) -> float:
    """Shared seconds as a share of the shorter span."""
    shared = min(a[1], b[1]) - max(a[0], b[0])
    return float(shared / max(min(a[1] - a[0], b[1] - b[0]), 1e-6))
