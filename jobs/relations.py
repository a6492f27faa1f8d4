"""Prints findings: one line per relation for people, or all of them as csv or json."""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jobs import tables

if TYPE_CHECKING:
    from pipelines.report.findings import Findings, Track

SHOWN = 20  # relations that a table prints by default
COLUMNS: dict[str, tuple[str, tables.Cell]] = {
    "score": ("score", tables.number(2)),
    "query": ("track", tables.plain),
    "reference": ("samples", tables.plain),
    "times": ("times", tables.plain),
    "query_s": ("total", tables.clock_s),
    "tempo_ratio": ("tempo", tables.number(2)),
    "pitch_semitones": ("pitch", tables.number(1, signed=True)),
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


def show(findings: Findings, format: str, limit: int = SHOWN) -> None:
    """Print the best `limit` relations as a table that fits the terminal, or all of them as csv or json."""
    if format == "json":
        json.dump(with_places(findings), sys.stdout, indent=1, ensure_ascii=False, default=str)
        print()
    elif format == "csv":
        from pipelines.report.exports import relations

        print(tables.encode(relations(findings), "csv").decode(), end="")
    elif findings.relations.num_rows:
        _show_table(findings, limit)


def _show_table(findings: Findings, limit: int) -> None:
    """Print the best relations, leaving out those that a reviewer has marked as not a sample."""
    names = names_of(findings.tracks)
    every = findings.relations.to_pylist()
    kept = [row for row in every if row["verdict"] != "not a sample"]
    if kept:
        print(tables.aligned([_line(row, names) for row in kept[:limit]], COLUMNS, terminal_width()))
    if len(kept) > limit:
        print(f"... and {len(kept) - limit:,} more (--format csv prints all)")
    if len(kept) < len(every):
        print(f"{len(every) - len(kept):,} not shown: marked as not a sample (asid review --list)")
    _print_common_sources(findings, names)


def show_places(rows: Sequence[dict[str, Any]], names: Mapping[str, str]) -> None:
    """Print what a recording plays when. `rows`: its detections (schema.DETECTIONS); printed in order of time."""
    rows = sorted(rows, key=lambda row: (row["query_start_s"], -row["score"]))
    lines = [row | {"reference": names[row["reference_id"]]} for row in rows]
    print(tables.aligned(lines, PLACES, terminal_width()))


def with_places(findings: Findings) -> list[dict[str, Any]]:
    """The relations as dicts, each with a list of its places."""
    from pipelines.report.exports import relations

    rows = findings.rows.drop_columns(["relation", "sweep_id", "model_id"]).to_pylist()
    first = findings.relations.column("first_place").to_pylist()
    listed = zip(relations(findings).to_pylist(), first, strict=True)
    return [row | {"places": rows[start : start + row["places"]]} for row, start in listed]


def counts(findings: Findings) -> str:
    """A summary such as `3 pairs with samples, 1 near-duplicate, 9 places`."""
    return count_text(findings.count("sample"), findings.count("duplicate"), findings.rows.num_rows)


def count_text(samples: int, duplicates: int, places: int) -> str:
    """Counts of relations of both kinds and of their places, in words."""
    parts = [f"{tables.counted(samples, 'pair')} with samples"]
    parts += [tables.counted(duplicates, "near-duplicate")] if duplicates else []
    return ", ".join([*parts, tables.counted(places, "place")])


def names_of(tracks: Mapping[str, Track]) -> dict[str, str]:
    """A name for each track id: artist and title, else the file name; the whole id where two names would be equal."""
    labels = Counter(track.label for track in tracks.values())
    return {track_id: t.label if labels[t.label] == 1 else track_id for track_id, t in tracks.items()}


def terminal_width() -> int:
    """Width of the terminal in characters; 80 if the output is not a terminal."""
    return shutil.get_terminal_size((80, 24)).columns


def _line(row: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return row | {"query": names[row["query_id"]], "reference": names[row["reference_id"]], "how": direction(row)}


def direction(row: dict[str, Any]) -> str:
    """How we know that the query samples the reference: `by year`, a probability, or `unknown`."""
    if row["kind"] == "duplicate":
        return "duplicate"
    by_audio = "by audio" if row["direction"] is None else f"{100 * row['direction']:.0f} %"
    return {"years": "by year", "audio": by_audio, "unknown": "unknown"}[row["decided_by"]]


def _print_common_sources(findings: Findings, names: dict[str, str]) -> None:
    """Print one line for each of the first three groups of tracks that share the same material."""
    groups: dict[int, tuple[set[str], str | None]] = {}
    for row in findings.relations.to_pylist():
        if row["common_source"] is not None:
            tracks, _ = groups.setdefault(row["common_source"], (set(), row["source_id"]))
            tracks |= {row["query_id"], row["reference_id"]}
    for tracks, source in list(groups.values())[:3]:
        shared = f"{len(tracks)} tracks share one source"
        if source:
            ends = f"{shared}: ", ", or one outside the catalogue"
            room = max(tables.MIN_WIDTH, terminal_width() - sum(map(len, ends)))
            print(tables.shortened(names[source], room).join(ends))
        else:
            print(f"{shared}, which may not be in the catalogue")
