"""A static page of a sweep's findings, to look at and listen to: no server, no network, from file:// or S3.

Browsers refuse to fetch files from a page opened as file://, so data are scripts that call `asid.page(...)` and the
like, loaded when they are needed. Everything lies in a folder of its own run; index.html, written last, names it.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from asid_core.config import Config
from pipelines.report import exports, listening, snippets
from pipelines.report.findings import KINDS, VERDICT_COLUMNS, Findings, findings
from pipelines.runtime import ProgressCallback
from pipelines.store.catalogue import Catalogue, new_run_id
from pipelines.store.location import Location

log = logging.getLogger(__name__)

STAGE = "report"
FOLDER = "files"
PAGE_RELATIONS = 500  # some 100 kB, and as much for each five places of a relation, read when one of them is opened
NETWORK_EDGES = 2000  # more cannot be told apart on a screen; network.graphml has all
RELATION_NUMBERS = {  # of the page's columns: name there, column, digits
    "score": ("score", 3),
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


@dataclass(frozen=True)
class ReportSummary:
    """What the page shows: relations of both kinds, their places, and of how many detections those are the best.

    `heard`: places that can be played."""

    page: str
    sweep_id: str
    samples: int
    duplicates: int
    places: int
    found: int
    heard: int
    seconds: float


def report(
    catalogue: Catalogue,
    output: Location,
    config: Config,
    min_score: float | None = None,
    progress: ProgressCallback | None = None,
    only: Sequence[str] | None = None,
) -> ReportSummary:
    """Write `output`/index.html and what it needs, replacing an earlier report there; reads the newest sweep.

    `min_score`: shown from this score on (default: the threshold that the sweep itself went by); `only`: relations
    with one of these verdicts (findings.NO_VERDICT is one), on the page and in the exports. Holds the rows shown
    (`report.detections` of each kind), never their audio. Raises CatalogueError where no sweep has ended.
    """
    started = time.monotonic()
    found = findings(catalogue, config.report.detections, min_score, only)
    run = f"{FOLDER}/{new_run_id(STAGE)}"
    place = output.join(run)
    heard = _write_media(catalogue, found, config, place, progress)
    pages = list(_write_pages(found, heard, _seen_before(output), place))
    _write_script(place.join("data", "network.js"), "network", network(found))
    written = exports.write_exports(found, output.join("exports"))
    head = {
        "catalogue": catalogue.location.name,
        "sweep": found.sweep_id,
        "model": found.model_id,
        "made": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "tracks": catalogue.count_tracks(),
        "found": dict(found.found),
        "shown": {kind: found.count(kind) for kind in KINDS},
        "places": found.rows.num_rows,
        "most": config.report.detections,
        "sounds": {"places": len(heard), "mb": config.report.sound_mb},
        "pages": [{key: page[key] for key in ("file", "kind", "rows")} for page in pages],
        "fresh": sum(page["new"] for page in pages),  # relations that the report before this one did not have
        "exports": written,
    }
    _write_script(place.join("data", "head.js"), "start", head)
    template = resources.files("pipelines").joinpath("report", "assets")
    _copy_assets(template, place)
    page = output.join("index.html")
    page.write_bytes(template.joinpath("index.html").read_text("utf-8").replace("@FILES@", run).encode())
    _remove_older(output, run.split("/")[1])
    counts = {"samples": found.count("sample"), "duplicates": found.count("duplicate"), "places": found.rows.num_rows}
    seconds = time.monotonic() - started
    return ReportSummary(
        str(page), found.sweep_id, **counts, found=sum(found.found.values()), heard=len(heard), seconds=seconds
    )


def _write_script(place: Location, function: str, *values: Any) -> None:
    """A script that hands `values` to the page. ASCII, so that no encoding and no invisible sign can matter."""
    text = ",".join(json.dumps(value, separators=(",", ":")) for value in values)
    place.write_bytes(f"asid.{function}({text});\n".encode())


def _write_media(
    catalogue: Catalogue, found: Findings, config: Config, place: Location, progress: ProgressCallback | None
) -> set[int]:
    """Write what is heard and seen of places, within `report.sound_mb`; returns their numbers."""
    limits = config.report.sound_mb * 1e6, config.report.snippet_s
    total = sum(1 for _ in snippets.places_to_hear(found, *limits))
    heard: set[int] = set()

    def write(one: snippets.PlaceToHear) -> int:
        _write_script(place.join("media", f"{one.number}.js"), "media", one.number, listening.media(one))
        return one.number

    # encoders and transforms run outside Python's lock; threads of torch within these threads would only wait
    with ThreadPoolExecutor(os.cpu_count() or 1, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for some in snippets.cut(catalogue, snippets.places_to_hear(found, *limits)):
            for number in pool.map(write, some):
                heard.add(number)
                if progress is not None:
                    progress({"stage": STAGE, "done": len(heard), "total": total, "unit": "places"})
    if len(heard) < total:
        log.warning("%d places have no audio: their tracks have left the catalogue", total - len(heard))
    return heard


def _write_pages(found: Findings, heard: set[int], seen: frozenset[str], place: Location) -> Iterator[dict[str, Any]]:
    """Write relations in pages of one kind, best first, each with a file of its places; yields what the head says."""
    first = 0
    for kind in KINDS:
        relations = found.relations.slice(first, found.count(kind))
        for start in range(0, relations.num_rows, PAGE_RELATIONS):
            columns = relations.slice(start, PAGE_RELATIONS).to_pydict()
            name = f"data/{kind}-{start // PAGE_RELATIONS:04d}"
            page = _relations(found, columns, heard, seen)
            places = f"{name}-places.js"
            _write_script(place.join(f"{name}.js"), "page", {"kind": kind, "file": places, **page})
            _write_script(place.join(places), "places", _places(found, columns, heard))
            yield {"file": f"{name}.js", "kind": kind, "rows": len(page["q"]), "new": sum(page["new"])}
        first += relations.num_rows


def _relations(found: Findings, columns: Columns, heard: set[int], seen: frozenset[str]) -> dict[str, Any]:
    """Relations by column; `q` and `r` count in the page's own list of tracks, so that pages load in any order."""
    numbers: dict[str, int] = {}
    sides = {s: [numbers.setdefault(i, len(numbers)) for i in columns[f"{s}_id"]] for s in ("query", "reference")}
    sources = [None if i is None else numbers.setdefault(i, len(numbers)) for i in columns["source_id"]]
    page: dict[str, Any] = {"tracks": [_track(found, track_id) for track_id in numbers]}
    page |= {"id": columns["relation_id"], "q": sides["query"], "r": sides["reference"], "source": sources}
    page |= {"by": columns["decided_by"], **_numbers(columns, RELATION_NUMBERS), "first": columns["first_place"]}
    page["heard"] = [int(first in heard) for first in columns["first_place"]]
    said = zip(*(columns[name] for name in VERDICT_COLUMNS), strict=True)
    page["verdict"] = [_verdict(*one) for one in said]
    page["new"] = [int(one not in seen) if seen else 0 for one in columns["relation_id"]]
    return page


def _verdict(verdict: str | None, note: str, who: str, when: datetime) -> dict[str, str] | None:
    """What the catalogue says of a relation, as the page keeps it."""
    if verdict is None:
        return None
    return {"verdict": verdict, "note": note, "by": who, "when": when.isoformat(timespec="seconds")}


def _seen_before(output: Location) -> frozenset[str]:
    """Ids of the relations of the report that lies in `output`; empty where there is none."""
    earlier = output.join("exports", "relations.parquet")
    if not earlier.exists():
        return frozenset()
    table = pq.read_table(pa.BufferReader(earlier.read_bytes()))
    return frozenset(table.column("relation_id").to_pylist() if "relation_id" in table.column_names else ())


def _places(found: Findings, relations: Columns, heard: set[int]) -> dict[str, Any]:
    """The places of some relations that follow each other, by column, in order."""
    first = relations["first_place"][0]
    count = relations["first_place"][-1] + relations["places"][-1] - first
    columns = found.rows.slice(first, count).to_pydict()
    numbers = range(first, first + count)
    backwards = [int(bool(value)) for value in columns["reversed"]]
    return {
        "first": first,
        **_numbers(columns, PLACE_NUMBERS),
        "back": backwards,
        "heard": [int(number in heard) for number in numbers],
    }


def _numbers(columns: Columns, names: Mapping[str, tuple[str, int]]) -> Columns:
    """Columns of numbers under the page's names, rounded."""
    return {
        name: [None if value is None else round(value, digits) for value in columns[column]]
        for name, (column, digits) in names.items()
    }


def _track(found: Findings, track_id: str) -> list[Any]:
    track = found.tracks[track_id]
    return [track_id, track.title, track.artist, track.year, round(track.duration_s, 2)]


def network(found: Findings) -> dict[str, Any]:
    """The best relations: tracks as in pages, edges as [query, reference, kind, score, places, is known, id, source].

    `source`: the number of the common source that is no track; null for most.
    """
    numbers: dict[str, int] = {}
    edges: list[list[Any]] = []
    for row in found.relations.sort_by([("score", "descending")]).slice(0, NETWORK_EDGES).to_pylist():
        ends = [numbers.setdefault(row[f"{side}_id"], len(numbers)) for side in ("query", "reference")]
        known = int(row["decided_by"] != "unknown")
        common = row["common_source"] if row["source_id"] is None else None
        numbers_of_edge = [KINDS.index(row["kind"]), round(row["score"], 3), row["places"], known]
        edges.append([*ends, *numbers_of_edge, row["relation_id"], common])
    tracks = [_track(found, track_id) for track_id in numbers]
    return {"pairs": found.relations.num_rows, "tracks": tracks, "edges": edges}


def _copy_assets(folder: Traversable, place: Location) -> None:
    for asset in folder.iterdir():
        if asset.is_dir():
            _copy_assets(asset, place.join(asset.name))
        elif asset.name != "index.html":
            place.join(asset.name).write_bytes(asset.read_bytes())


def _remove_older(output: Location, run_id: str) -> None:
    """Earlier reports' files: nothing names them any more."""
    older = output.join(FOLDER)
    for entry in list(older.list()):
        parts = entry.name.split("/")
        if entry.kind == "file" and len(parts) > 1 and parts[0] != run_id and f"-{STAGE}-" in parts[0]:
            older.join(entry.name).delete()
