"""Exports of the findings for other tools: CSV, JSON Lines, Parquet, GraphML, Sonic Visualiser, Audacity.

All of them include titles, artists and years. `asid sweep --export` writes the plain columns of the schema.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO
from xml.sax.saxutils import escape, quoteattr

import pyarrow as pa
import pyarrow.parquet as pq

from asid_core.plain_text import spreadsheet_row, spreadsheet_text
from pipelines.report.findings import Findings, Track
from pipelines.store.location import Location

PANAKO = (
    "Index", "Total", "Query path", "Query start (s)", "Query stop (s)", "Match path", "Match id", "Match start (s)",
    "Match stop (s)", "Match score", "Time factor (%)", "Frequency factor (%)", "Seconds with match (%)",
)  # fmt: skip
JOINED = {"title": "title", "artist": "artist", "album": "album", "year": "year", "isrc": "isrc", "label": "rights"}
FURTHER = 50  # most further columns of a manifest that are exported
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
NOT_A_FILE_NAME = re.compile(r'[\x00-\x1f\x7f<>:"\\|?*\u200e\u200f\u202a-\u202e\u2066-\u2069]')
GRAPHML_HEAD = """<?xml version="1.0" encoding="utf-8"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
<key id="title" for="node" attr.name="title" attr.type="string"/>
<key id="artist" for="node" attr.name="artist" attr.type="string"/>
<key id="year" for="node" attr.name="year" attr.type="int"/>
<key id="kind" for="edge" attr.name="kind" attr.type="string"/>
<key id="score" for="edge" attr.name="score" attr.type="double"/>
<key id="times" for="edge" attr.name="times" attr.type="int"/>
<key id="direction" for="edge" attr.name="direction" attr.type="string"/>
<graph edgedefault="directed">
"""
Region = tuple[float, float, float, str]  # start_s, end_s, score, label


def write_exports(findings: Findings, place: Location) -> list[str]:
    """Write a file of every format to `place`; returns their names."""
    writers: dict[str, Callable[[Findings, BinaryIO], None]] = {
        "relations.csv": write_relations_csv,
        "relations.jsonl": write_relations_json_lines,
        "relations.parquet": lambda findings, stream: pq.write_table(relations(findings), stream, compression="zstd"),
        "detections.csv": write_panako_csv,
        "detections.jsonl": write_json_lines,
        "detections.parquet": write_parquet,
        "network.graphml": write_graphml,
        "sonic-visualiser.zip": lambda findings, stream: write_zip(findings, stream, "csv", region_layer),
        "audacity-labels.zip": lambda findings, stream: write_zip(findings, stream, "txt", audacity_labels),
    }
    for name, write in writers.items():
        with place.join(name).writing() as stream:
            write(findings, stream)
    return list(writers)


def relations(findings: Findings) -> pa.Table:
    """One row per pair: schema.RELATIONS, `relation_id` first, with the names of both tracks."""
    table = _with_names(findings, findings.relations)
    names = ["relation_id", *(n for n in table.column_names if n not in ("relation_id", "first_place"))]
    return table.select(names)


def write_relations_csv(findings: Findings, stream: BinaryIO) -> None:
    """Write `relations` as CSV: UTF-8, with a header, separated by commas."""
    table = relations(findings)
    text = io.TextIOWrapper(stream, "utf-8", "replace", newline="", write_through=True)
    writer = csv.DictWriter(text, table.column_names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(spreadsheet_row(_rounded(row)) for row in table.to_pylist())
    text.detach()


def write_relations_json_lines(findings: Findings, stream: BinaryIO) -> None:
    """Write `relations` as JSON Lines: one object per relation."""
    for row in relations(findings).to_pylist():
        stream.write((json.dumps(row, ensure_ascii=False, default=str) + "\n").encode("utf-8", "replace"))


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    """The row with numbers rounded to four decimals, because further digits of 32-bit floats mean nothing."""
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}


def _rows(findings: Findings) -> Iterator[dict[str, Any]]:
    for batch in findings.rows.to_batches(max_chunksize=4096):
        yield from batch.to_pylist()


def write_panako_csv(findings: Findings, stream: BinaryIO) -> None:
    """Write Panako's columns, separated by `;`. `Match` is the reference.

    Time factor: length of the reference's audio in the query. Frequency factor: its pitch there. Both in % of the
    original. `Seconds with match` is unknown and left empty.
    """
    text = io.TextIOWrapper(stream, "utf-8", newline="", write_through=True)
    writer = csv.writer(text, delimiter=";", lineterminator="\n")
    writer.writerow(PANAKO)
    for index, row in enumerate(_rows(findings), start=1):
        match = spreadsheet_text(row["reference_id"])
        times = [f"{row[key]:.3f}" for key in ("query_start_s", "query_end_s", "reference_start_s", "reference_end_s")]
        frequency = 100 * 2 ** ((row["pitch_semitones"] or 0.0) / 12)
        writer.writerow(
            [index, findings.rows.num_rows, spreadsheet_text(row["query_id"]), *times[:2], match, match, *times[2:]]
            + [f"{row['score']:.4f}", f"{100 / row['tempo_ratio']:.1f}", f"{frequency:.1f}", ""]
        )
    text.detach()


def write_json_lines(findings: Findings, stream: BinaryIO) -> None:
    """Write the places as JSON Lines: schema.DETECTIONS and the names of both tracks, one object per place."""
    named = _with_names(findings, findings.rows)
    for row in (row for batch in named.to_batches(max_chunksize=4096) for row in batch.to_pylist()):
        stream.write((json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8", "replace"))


def write_parquet(findings: Findings, stream: BinaryIO) -> None:
    """Write the places as Parquet: schema.DETECTIONS, the names of both tracks, and the number of the relation."""
    pq.write_table(_with_names(findings, findings.rows), stream, compression="zstd")


def _with_names(findings: Findings, table: pa.Table) -> pa.Table:
    """`table` (with query_id and reference_id) and the names and manifest columns of both tracks."""
    further = sorted({key for track in findings.tracks.values() for key in track.more})[:FURTHER]
    for side in ("query", "reference"):
        tracks = [findings.tracks[i] for i in table.column(f"{side}_id").to_pylist()]
        for name, attribute in JOINED.items():
            kind = pa.int32() if name == "year" else pa.string()
            table = table.append_column(f"{side}_{name}", pa.array([getattr(t, attribute) for t in tracks], kind))
        for key in further:
            name = _free_name(f"{side}_{key}", table.column_names)
            table = table.append_column(name, pa.array([t.more.get(key) for t in tracks], pa.string()))
    return table


def _free_name(name: str, taken: Sequence[str]) -> str:
    """`name`, followed by `_` as often as needed, because a column of a manifest may have any name."""
    while name in taken:
        name += "_"
    return name


def write_graphml(findings: Findings, stream: BinaryIO) -> None:
    """Write a graph of tracks: one edge per relation, from the query to the reference, with its best score."""
    stream.write(GRAPHML_HEAD.encode())
    for track in findings.tracks.values():
        values = {"title": track.title, "artist": track.artist, "year": track.year}
        stream.write(_element("node", {"id": track.track_id}, values))
    for row in findings.relations.to_pylist():
        edge = {"kind": row["kind"], "score": f"{row['score']:.4f}", "times": row["times"]}
        edge |= {"direction": row["decided_by"]}
        stream.write(_element("edge", {"source": row["query_id"], "target": row["reference_id"]}, edge))
    stream.write(b"</graph></graphml>\n")


def _element(name: str, attributes: Mapping[str, str], values: Mapping[str, object]) -> bytes:
    named = "".join(f" {key}={quoteattr(NOT_XML.sub('�', value))}" for key, value in attributes.items())
    known = [(key, escape(NOT_XML.sub("�", str(value)))) for key, value in values.items() if value is not None]
    data = "".join(f'<data key="{key}">{value}</data>' for key, value in known)
    return f"<{name}{named}>{data}</{name}>\n".encode()


def write_zip(findings: Findings, stream: BinaryIO, ending: str, encode: Callable[[list[Region]], str]) -> None:
    """Write up to two files per track: what it samples, and where others sample it."""
    regions: dict[tuple[str, str], list[Region]] = {}
    for row in _rows(findings):
        for side, other, role in (("query", "reference", "samples"), ("reference", "query", "sampled_by")):
            label = f"{role.replace('_', ' ')} {findings.tracks[row[f'{other}_id']].label} ({row['score']:.2f})"
            region = (row[f"{side}_start_s"], row[f"{side}_end_s"], row["score"], " ".join(label.split()))
            regions.setdefault((row[f"{side}_id"], role), []).append(region)
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for (track_id, role), spans in regions.items():
            # a fixed date, so that the same findings give the same bytes
            entry = zipfile.ZipInfo(f"{file_name(findings.tracks[track_id])}.{role}.{ending}")
            archive.writestr(entry, encode(sorted(spans)).encode("utf-8", "replace"), zipfile.ZIP_DEFLATED)


def file_name(track: Track) -> str:
    """A file name that is safe on every system: the last part of the id, and eight digits that make it unique."""
    last = NOT_A_FILE_NAME.sub("_", track.track_id.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1])[:80].strip(" .")
    return f"{last or 'track'}-{hashlib.blake2b(track.track_id.encode('utf-8', 'replace'), digest_size=4).hexdigest()}"


def region_layer(regions: list[Region]) -> str:
    """A layer of regions in Sonic Visualiser's format: time, value, duration, label, without a header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows(
        [f"{start:.6f}", f"{score:.4f}", f"{end - start:.6f}", label] for start, end, score, label in regions
    )
    return text.getvalue()


def audacity_labels(regions: list[Region]) -> str:
    """A label track in Audacity's format: start, end, text, separated by tabs."""
    return "".join(f"{start:.6f}\t{end:.6f}\t{label}\n" for start, end, _, label in regions)
