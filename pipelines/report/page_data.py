"""The data of the report's scripts: relations, places and the network, by column, as assets/core.js reads them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pipelines.report.findings import KINDS, VERDICT_COLUMNS, Findings
from pipelines.store.location import Location

NETWORK_EDGES = 2000  # more cannot be distinguished on a screen; network.graphml has all
RELATION_NUMBERS = {  # of the page's columns: name there, column, digits
    "score": ("score", 3),
    "times": ("times", 0),
    "places": ("places", 0),
    "qs": ("query_s", 1),
    "rs": ("reference_s", 1),
    "sure": ("direction", 2),
    "tempo": ("tempo_ratio", 4),
    "pitch": ("pitch_semitones", 2),
    "common": ("common_source", 0),
}
PLACE_NUMBERS = {
    "qs": ("query_start_s", 2),
    "qe": ("query_end_s", 2),
    "rs": ("reference_start_s", 2),
    "re": ("reference_end_s", 2),
    "score": ("score", 3),
    "rerank": ("rerank_score", 3),
    "coarse": ("coarse_score", 3),
    "verify": ("verify_score", 3),
    "tempo": ("tempo_ratio", 4),
    "pitch": ("pitch_semitones", 2),
    "windows": ("num_windows", 0),
}
Columns = dict[str, list[Any]]


def write_script(place: Location, function: str, *values: Any) -> None:
    """Write a script that passes `values` to the page, in ASCII, so that encodings do not matter."""
    text = ",".join(json.dumps(value, separators=(",", ":")) for value in values)
    place.write_bytes(f"asid.{function}({text});\n".encode())


def relations_data(findings: Findings, columns: Columns, heard: set[int], seen: frozenset[str]) -> dict[str, Any]:
    """Relations by column. `q` and `r` are indices in `tracks` of the same file, so files can load in any order."""
    numbers: dict[str, int] = {}
    sides = {s: [numbers.setdefault(i, len(numbers)) for i in columns[f"{s}_id"]] for s in ("query", "reference")}
    sources = [None if i is None else numbers.setdefault(i, len(numbers)) for i in columns["source_id"]]
    page: dict[str, Any] = {"tracks": [_track(findings, track_id) for track_id in numbers]}
    page |= {"id": columns["relation_id"], "q": sides["query"], "r": sides["reference"], "source": sources}
    page |= {"by": columns["decided_by"], **_numbers(columns, RELATION_NUMBERS), "first": columns["first_place"]}
    page["heard"] = [int(first in heard) for first in columns["first_place"]]
    said = zip(*(columns[name] for name in VERDICT_COLUMNS), strict=True)
    page["verdict"] = [_verdict(*one) for one in said]
    page["new"] = [int(one not in seen) if seen else 0 for one in columns["relation_id"]]
    return page


def _verdict(verdict: str | None, note: str, who: str, when: datetime) -> dict[str, str] | None:
    """The catalogue's verdict on a relation, in the form that the page uses."""
    if verdict is None:
        return None
    return {"verdict": verdict, "note": note, "by": who, "when": when.isoformat(timespec="seconds")}


def places_data(findings: Findings, relations: Columns, heard: set[int]) -> dict[str, Any]:
    """The places of consecutive relations, by column, in order."""
    first = relations["first_place"][0]
    count = relations["first_place"][-1] + relations["places"][-1] - first
    columns = findings.rows.slice(first, count).to_pydict()
    numbers = range(first, first + count)
    backwards = [int(bool(value)) for value in columns["reversed"]]
    return {
        "first": first,
        **_numbers(columns, PLACE_NUMBERS),
        "back": backwards,
        "heard": [int(number in heard) for number in numbers],
    }


def _numbers(columns: Columns, names: Mapping[str, tuple[str, int]]) -> Columns:
    """Columns of rounded numbers, under the page's names."""
    return {
        name: [None if value is None else round(value, digits) for value in columns[column]]
        for name, (column, digits) in names.items()
    }


def _track(findings: Findings, track_id: str) -> list[Any]:
    track = findings.tracks[track_id]
    return [track_id, track.title, track.artist, track.year, round(track.duration_s, 2), track.cover]


def network_data(findings: Findings) -> dict[str, Any]:
    """The best relations: tracks, and edges [query, reference, kind, score, times, is known, id, source].

    source: number of the common source if it is not a track of the catalogue; null for most.
    """
    numbers: dict[str, int] = {}
    edges: list[list[Any]] = []
    for row in findings.relations.sort_by([("score", "descending")]).slice(0, NETWORK_EDGES).to_pylist():
        ends = [numbers.setdefault(row[f"{side}_id"], len(numbers)) for side in ("query", "reference")]
        known = int(row["decided_by"] != "unknown")
        common = row["common_source"] if row["source_id"] is None else None
        numbers_of_edge = [KINDS.index(row["kind"]), round(row["score"], 3), row["times"], known]
        edges.append([*ends, *numbers_of_edge, row["relation_id"], common])
    tracks = [_track(findings, track_id) for track_id in numbers]
    return {"pairs": findings.relations.num_rows, "tracks": tracks, "edges": edges}
