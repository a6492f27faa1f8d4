"""The findings of a sweep: its detections combined into relations, best first, with the names of the tracks."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from asid_core.matching.relations import relate
from asid_core.schema import DETECTIONS, TRACKS, VERDICTS
from pipelines.store import detections, verdicts
from pipelines.store.catalogue import Catalogue, CatalogueError

KINDS = ("sample", "duplicate")
VERDICT_COLUMNS = ("verdict", "note", "said_by", "said_at")
NO_VERDICT = "none"
TEXTS = ("title", "artist", "album", "isrc")
TEXT_LIMIT = 200  # characters; some titles are whole lyrics, and the page must stay small
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
SIDES = ("query", "reference")


@dataclass(frozen=True)
class Track:
    """What is shown of a track. A track that has left the catalogue since the sweep has only its id, and 0 s."""

    track_id: str
    title: str | None = None
    artist: str | None = None
    year: int | None = None
    duration_s: float = 0.0
    content_hash: str | None = None
    album: str | None = None
    isrc: str | None = None
    rights: str | None = None  # the label, as tags and manifests call it
    more: Mapping[str, str] = field(default_factory=dict)  # further columns of the manifest
    cover: str | None = None  # see pipelines.store.covers

    @property
    def label(self) -> str:
        """Artist and title where known, else the last part of the id."""
        title = self.title or self.track_id.rsplit("/", 1)[-1]
        return f"{self.artist} - {title}" if self.artist else title


@dataclass(frozen=True)
class Findings:
    """What a sweep found, as relations.

    relations: schema.RELATIONS, `relation_id` and VERDICT_COLUMNS, which are null without a verdict; first samples,
    then duplicates, each by falling score. rows: their places, in the order of relations (schema.DETECTIONS and
    `relation`, the number of the relation). detections: number of detections of each kind in the sweep.
    """

    sweep_id: str
    model_id: str
    relations: pa.Table
    rows: pa.Table
    tracks: Mapping[str, Track]
    detections: Mapping[str, int]

    def count(self, kind: str) -> int:
        """Relations of a kind."""
        return int(pc.sum(pc.equal(self.relations.column("kind"), kind)).as_py() or 0)


def newest_findings(
    catalogue: Catalogue, limit: int, min_score: float | None = None, only: Sequence[str] | None = None
) -> Findings:
    """The relations of the best `limit` samples and the best `limit` duplicates of the newest sweep.

    min_score: default is the threshold of the sweep. only: keep relations with one of these verdicts; NO_VERDICT is one
    of them. Raises CatalogueError if no sweep has ended.
    """
    head = newest_sweep(catalogue)
    least = detections.threshold(head) if min_score is None else min_score
    best, counts = _best(detections.batches(catalogue, head["sweep_id"], least), limit)
    findings = findings_of(catalogue, pa.concat_tables(best.values()), head["sweep_id"], head["model_id"], counts)
    return findings if only is None else with_verdicts(findings, only)


def with_verdicts(findings: Findings, chosen: Sequence[str]) -> Findings:
    """The relations with one of these verdicts, and their places, renumbered."""
    given = pc.fill_null(findings.relations.column("verdict"), NO_VERDICT)
    kept = pc.is_in(given, pa.array(chosen, pa.string()))
    numbers = pc.indices_nonzero(kept)
    relations = findings.relations.filter(kept)
    rows = findings.rows.filter(pc.is_in(findings.rows.column("relation"), pc.cast(numbers, pa.int32())))
    first = [0, *accumulate(relations.column("places").to_pylist())][: relations.num_rows]
    relations = _replaced(relations, "first_place", first)
    again = [number for number, places in enumerate(relations.column("places").to_pylist()) for _ in range(places)]
    return replace(findings, relations=relations, rows=_replaced(rows, "relation", again))


def _replaced(table: pa.Table, name: str, values: list[int]) -> pa.Table:
    column = table.schema.field(name)
    return table.set_column(table.schema.get_field_index(name), column, pa.array(values, column.type))


def findings_of(
    catalogue: Catalogue,
    rows: pa.Table,
    sweep_id: str = "",
    model_id: str = "",
    counts: Mapping[str, int] | None = None,
) -> Findings:
    """The relations of `rows` (schema.DETECTIONS). A track that is not in the catalogue has only its id.

    counts: detections of each kind in the sweep.
    """
    tracks = tracks_of(catalogue, rows)
    relations = relate(rows, {track_id: track.year for track_id, track in tracks.items()})
    pairs = zip(*(relations.table.column(f"{side}_id").to_pylist() for side in SIDES), strict=True)
    ids = [relation_id(tracks[query], tracks[reference]) for query, reference in pairs]
    table = relations.table.append_column("relation_id", pa.array(ids, pa.string()))
    given = verdicts.read(catalogue)
    for name in VERDICT_COLUMNS:
        values = [given[one][name] if one in given else None for one in ids]
        table = table.append_column(name, pa.array(values, VERDICTS.field(name).type))
    numbers = [n for n, places in enumerate(table.column("places").to_pylist()) for _ in range(places)]
    places = relations.places.append_column("relation", pa.array(numbers, pa.int32()))
    return Findings(sweep_id, model_id, table, places, tracks, counts or {})


def relation_id(one: Track, other: Track) -> str:
    """Sixteen hex digits that identify a pair of recordings by their audio, in either direction."""
    keys = sorted(track.content_hash or f"gone {track.track_id}" for track in (one, other))
    return hashlib.blake2b("\n".join(keys).encode("utf-8", "replace"), digest_size=8).hexdigest()


def newest_sweep(catalogue: Catalogue) -> dict[str, Any]:
    """sweep.json of the newest finished sweep. Raises CatalogueError if there is none."""
    ended = detections.sweeps(catalogue)
    if not ended:
        uri = catalogue.location
        raise CatalogueError(f"no detections in {uri}; make some with `asid sweep --catalogue {uri}`")
    return ended[-1]


def _best(batches: Iterable[pa.RecordBatch], limit: int) -> tuple[dict[str, pa.Table], dict[str, int]]:
    """The best rows and the number of rows of each kind. Holds a few times `limit` rows in memory."""
    kept = {kind: DETECTIONS.empty_table() for kind in KINDS}
    counts = dict.fromkeys(KINDS, 0)
    for batch in batches:
        rows_of_all = pa.Table.from_batches([batch]).cast(DETECTIONS)
        for kind in KINDS:
            rows = rows_of_all.filter(pc.equal(rows_of_all.column("kind"), kind))
            counts[kind] += rows.num_rows
            kept[kind] = pa.concat_tables([kept[kind], rows])
            if kept[kind].num_rows > 2 * limit + rows.num_rows:
                kept[kind] = _by_score(kept[kind]).slice(0, limit)
    return {kind: _by_score(rows).slice(0, limit) for kind, rows in kept.items()}, counts


def _by_score(rows: pa.Table) -> pa.Table:
    ties = ("query_id", "query_start_s", "reference_id", "reference_start_s")
    return rows.sort_by([("score", "descending"), *((name, "ascending") for name in ties)])


def tracks_of(catalogue: Catalogue, rows: pa.Table) -> dict[str, Track]:
    """The tracks that `rows` name in query_id and reference_id, by track id."""
    chunks = rows.column("query_id").chunks + rows.column("reference_id").chunks
    ids = pc.unique(pa.chunked_array(chunks, pa.string())).to_pylist()
    tracks = {track_id: Track(track_id) for track_id in ids}
    names = ["track_id", "year", "duration_s", "content_hash", *TEXTS, "label", "manifest", "cover"]
    for row in catalogue.tracks_of(ids).select(names).to_pylist():
        row |= {key: shorten(row[key]) for key in TEXTS}
        row |= {"rights": shorten(row.pop("label")), "more": _further_columns(row.pop("manifest"))}
        tracks[row["track_id"]] = Track(**row)
    return tracks


def _further_columns(manifest: str | None) -> dict[str, str]:
    """The manifest's columns that the tracks table does not have."""
    values = json.loads(manifest) if manifest else {}
    return {key: text for key, value in values.items() if key not in TRACKS.names and (text := shorten(value))}


def shorten(text: str | None) -> str | None:
    """At most TEXT_LIMIT characters on one line, without control characters; None for nothing but spaces."""
    line = " ".join(CONTROL.sub(" ", (text or "")[: 10 * TEXT_LIMIT]).split())
    return (line if len(line) <= TEXT_LIMIT else line[: TEXT_LIMIT - 1] + "…") or None
