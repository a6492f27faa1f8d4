"""How the verbs print what was found: a line for each relation, or all of them for programs."""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jobs import tables

if TYPE_CHECKING:
    from pipelines.report.findings import Findings

SHOWN = 20
COLUMNS: dict[str, tuple[str, tables.Cell]] = {
    "score": ("score", tables.number(2)),
    "query": ("track", tables.plain),
    "reference": ("samples", tables.plain),
    "places": ("places", tables.plain),
    "query_s": ("in all", tables.clock_s),
    "how": ("direction", tables.plain),
}
PLACES: dict[str, tuple[str, tables.Cell]] = {
    "query_start_s": ("at", tables.clock_s),
    "query_end_s": ("to", tables.clock_s),
    "reference": ("plays", tables.plain),
    "reference_start_s": ("from", tables.clock_s),
    "reference_end_s": ("to", tables.clock_s),
    "tempo_ratio": ("tempo", tables.number(2)),
    "pitch_semitones": ("pitch", tables.number(1, signed=True)),
    "score": ("score", tables.number(2)),
}


def show(found: Findings, format: str, limit: int = SHOWN) -> None:
    """Print the best `limit` relations as a table that fits the terminal, or all of them as csv or json."""
    if format == "json":
        json.dump(with_places(found), sys.stdout, indent=1, ensure_ascii=False, default=str)
        print()
    elif format == "csv":
        from pipelines.report.exports import relations

        print(tables.encode(relations(found), "csv").decode(), end="")
    elif found.relations.num_rows:
        _show_table(found, limit)


def _show_table(found: Findings, limit: int) -> None:
    """The best relations that nobody has marked as no sample."""
    names = names_of(found)
    every = found.relations.to_pylist()
    left = [row for row in every if row["verdict"] != "not a sample"]
    if left:
        print(tables.aligned([_line(row, names) for row in left[:limit]], COLUMNS, terminal_width()))
    if len(left) > limit:
        print(f"... and {len(left) - limit:,} more (--format csv prints all)")
    if len(left) < len(every):
        print(f"{len(every) - len(left):,} not shown: marked as not a sample (asid review --list)")
    _say_common_sources(found, names)


def show_places(rows: Sequence[dict[str, Any]], names: Mapping[str, str]) -> None:
    """Print what a recording plays when: its rows (schema.DETECTIONS) in order of time."""
    rows = sorted(rows, key=lambda row: (row["query_start_s"], -row["score"]))
    lines = [row | {"reference": names[row["reference_id"]]} for row in rows]
    print(tables.aligned(lines, PLACES, terminal_width()))


def with_places(found: Findings) -> list[dict[str, Any]]:
    """The relations, each with its places."""
    from pipelines.report.exports import relations

    rows = found.rows.drop_columns(["relation", "sweep_id", "model_id"]).to_pylist()
    first = found.relations.column("first_place").to_pylist()
    listed = zip(relations(found).to_pylist(), first, strict=True)
    return [row | {"places": rows[start : start + row["places"]]} for row, start in listed]


def counts(found: Findings) -> str:
    """`3 pairs with samples, 1 near-duplicate, 9 places`."""
    samples, duplicates = found.count("sample"), found.count("duplicate")
    parts = [f"{samples:,} pair{'' if samples == 1 else 's'} with samples"]
    parts += [f"{duplicates:,} near-duplicate{'' if duplicates == 1 else 's'}"] if duplicates else []
    return ", ".join([*parts, f"{found.rows.num_rows:,} place{'' if found.rows.num_rows == 1 else 's'}"])


def names_of(found: Findings) -> dict[str, str]:
    """Artist and title of each track, or its file's name; its whole id where two would look the same."""
    labels = Counter(track.label for track in found.tracks.values())
    return {track_id: t.label if labels[t.label] == 1 else track_id for track_id, t in found.tracks.items()}


def terminal_width() -> int:
    """Columns of the terminal; 80 where the output is no terminal."""
    return shutil.get_terminal_size((80, 24)).columns


def _line(row: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return row | {"query": names[row["query_id"]], "reference": names[row["reference_id"]], "how": direction(row)}


def direction(row: dict[str, Any]) -> str:
    """How it is known that the query samples the reference, in a word."""
    if row["kind"] == "duplicate":
        return "duplicate"
    by_audio = "by sound" if row["direction"] is None else f"{100 * row['direction']:.0f} %"
    return {"years": "by year", "audio": by_audio, "unknown": "unknown"}[row["decided_by"]]


def _say_common_sources(found: Findings, names: dict[str, str]) -> None:
    """A line for each of the first groups of tracks that share one thing."""
    groups: dict[int, tuple[set[str], str | None]] = {}
    for row in found.relations.to_pylist():
        if row["common_source"] is not None:
            tracks, _ = groups.setdefault(row["common_source"], (set(), row["source_id"]))
            tracks |= {row["query_id"], row["reference_id"]}
    for tracks, source in list(groups.values())[:3]:
        where = f"from {names[source]}" if source else "a common source, perhaps not in the catalogue"
        print(f"{len(tracks)} tracks share one thing: {where}")
