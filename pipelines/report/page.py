"""A static page of a sweep's findings, to look at and listen to: no server, no network, from file:// or S3.

Browsers refuse to fetch files from a page opened as file://, so data are scripts that call `asid.page(...)` and the
like, loaded when they are needed. Everything lies in a folder of its own run; index.html, written last, names it.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from asid_core.config import Config
from pipelines.report import exports, snippets
from pipelines.report.findings import KINDS, Findings, findings
from pipelines.runtime import Progress
from pipelines.store.catalogue import Catalogue, new_run_id
from pipelines.store.location import Location

log = logging.getLogger(__name__)

STAGE = "report"
FOLDER = "files"
PAGE_ROWS = 2000  # some 250 kB: a page of 100,000 detections is 50 of them
NETWORK_EDGES = 2000  # more cannot be told apart on a screen; network.graphml has all
NUMBERS = {  # of the page's columns: name there, column, digits
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


@dataclass(frozen=True)
class ReportSummary:
    """What the page shows. `found`: samples and duplicates of the sweep, of which the best are in the page."""

    page: str
    sweep_id: str
    samples: int
    duplicates: int
    found: int
    snippets: int
    seconds: float


def report(
    catalogue: Catalogue,
    output: Location,
    config: Config,
    min_score: float | None = None,
    progress: Progress | None = None,
) -> ReportSummary:
    """Write `output`/index.html and what it needs, replacing an earlier report there; reads the newest sweep.

    `min_score`: shown from this score on (default: the threshold that the sweep itself went by). Holds the rows shown
    (`report.detections` of each kind), never their audio. Raises CatalogueError where no sweep has ended.
    """
    started = time.monotonic()
    found = findings(catalogue, config.report.detections, min_score)
    run = f"{FOLDER}/{new_run_id(STAGE)}"
    place = output.join(run)
    heard = _write_snippets(catalogue, found, config, place, progress)
    pages = list(_write_pages(found, heard, place))
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
        "dated": all(track.year for track in found.tracks.values()),  # else who samples whom is not always known
        "pages": pages,
        "exports": written,
    }
    _write_script(place.join("data", "head.js"), "start", head)
    template = resources.files("pipelines").joinpath("report", "assets")
    _copy_assets(template, place)
    page = output.join("index.html")
    page.write_bytes(template.joinpath("index.html").read_text("utf-8").replace("@FILES@", run).encode())
    _remove_older(output, run.split("/")[1])
    counts = {"samples": found.count("sample"), "duplicates": found.count("duplicate")}
    seconds = time.monotonic() - started
    return ReportSummary(
        str(page), found.sweep_id, **counts, found=sum(found.found.values()), snippets=len(heard), seconds=seconds
    )


def _write_script(place: Location, function: str, *values: Any) -> None:
    """A script that hands `values` to the page. ASCII, so that no encoding and no invisible sign can matter."""
    text = ",".join(json.dumps(value, separators=(",", ":")) for value in values)
    place.write_bytes(f"asid.{function}({text});\n".encode())


def _write_snippets(
    catalogue: Catalogue, found: Findings, config: Config, place: Location, progress: Progress | None
) -> set[tuple[int, str]]:
    """Write sound and picture of each snippet; returns which there are, as (row number, side)."""
    wanted = snippets.wanted(found, config.report.snippets, config.report.snippet_s)
    heard: set[tuple[int, str]] = set()
    for snippet in snippets.cut_snippets(catalogue, wanted):
        name = f"{snippet.number}-{snippet.side}"
        place.join("media", f"{name}.mp3").write_bytes(snippets.mp3(snippet))
        picture = snippets.picture(snippet)
        _write_script(place.join("media", f"{name}.js"), "picture", snippet.number, snippet.side, picture)
        heard.add((snippet.number, snippet.side))
        if progress is not None:
            progress({"stage": STAGE, "done": len(heard), "total": len(wanted), "unit": "snippets"})
    if len(heard) < len(wanted):
        log.warning("%d snippets have no audio: their tracks have left the catalogue", len(wanted) - len(heard))
    return heard


def _write_pages(found: Findings, heard: set[tuple[int, str]], place: Location) -> Iterator[dict[str, Any]]:
    """Write the rows in pages of one kind, best first; yields what the head says of each. First pages come first."""
    first = 0
    for kind in KINDS:
        rows = found.rows.slice(first, found.count(kind))
        for start in range(0, rows.num_rows, PAGE_ROWS):
            name = f"data/{kind}-{start // PAGE_ROWS:04d}.js"
            page = _page(found, first + start, rows.slice(start, PAGE_ROWS).to_pydict(), heard)
            _write_script(place.join(name), "page", {"kind": kind, **page})
            yield {"file": name, "kind": kind, "rows": len(page["q"])}
        first += rows.num_rows


def _page(found: Findings, first: int, columns: dict[str, list[Any]], heard: set[tuple[int, str]]) -> dict[str, Any]:
    """Rows by column; `q` and `r` count in the page's own list of tracks, so that pages load in any order."""
    numbers: dict[str, int] = {}
    sides = {s: [numbers.setdefault(i, len(numbers)) for i in columns[f"{s}_id"]] for s in ("query", "reference")}
    page: dict[str, Any] = {"first": first, "tracks": [_track(found, track_id) for track_id in numbers]}
    page |= {"q": sides["query"], "r": sides["reference"]}
    for name, (column, digits) in NUMBERS.items():
        page[name] = [None if value is None else round(value, digits) for value in columns[column]]
    rows = range(first, first + len(page["q"]))
    page["heard"] = [int((n, "query") in heard) + 2 * int((n, "reference") in heard) for n in rows]
    return page


def _track(found: Findings, track_id: str) -> list[Any]:
    track = found.tracks[track_id]
    return [track_id, track.title, track.artist, track.year, round(track.duration_s, 2)]


def network(found: Findings) -> dict[str, Any]:
    """The best pairs: tracks as in pages, edges as [query, reference, kind, best score, detections]."""
    pairs = exports.edges(found)
    numbers: dict[str, int] = {}
    shown: list[list[float]] = []
    for (query, reference, kind), (score, count) in pairs.items():
        if len(shown) == NETWORK_EDGES:
            break
        ends = [numbers.setdefault(track_id, len(numbers)) for track_id in (query, reference)]
        shown.append([*ends, KINDS.index(kind), round(score, 3), count])
    return {"pairs": len(pairs), "tracks": [_track(found, track_id) for track_id in numbers], "edges": shown}


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
