"""Writes the findings of a sweep as a static page with sound. It needs no server and opens from file:// or S3.

Browsers do not let a page on file:// fetch files. The data are therefore scripts that call functions such as
`asid.page(...)`, loaded when needed. Each report is in a folder of its own; index.html, written last, names it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from asid_core.config import Config
from pipelines.report import exports
from pipelines.report.findings import KINDS, Findings, newest_findings
from pipelines.report.media import copy_covers, write_media
from pipelines.report.page_data import network_data, places_data, relations_data, write_script
from pipelines.runtime import ProgressCallback
from pipelines.store.catalogue import Catalogue, new_run_id
from pipelines.store.location import Location

STAGE = "report"
FOLDER = "files"
PAGE_RELATIONS = 500  # relations per file, some 100 kB; their places are in a second file, read when one is opened


@dataclass(frozen=True)
class ReportSummary:
    """What the page shows: relations of both kinds, their places, and how many of these can be played.

    `left_out`: detections beyond `report.detections` of a kind, which are not shown.
    """

    page: str
    sweep_id: str
    samples: int
    duplicates: int
    places: int
    left_out: int
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
    """Write `output`/index.html and its files for the newest sweep, replacing an earlier report there.

    min_score: default is the threshold of the sweep. only: show and export only relations with one of these verdicts;
    findings.NO_VERDICT is one of them. Holds the rows that are shown in memory, but not their audio. Raises
    CatalogueError if no sweep has ended.
    """
    started = time.monotonic()
    findings = newest_findings(catalogue, config.report.detections, min_score, only)
    run = f"{FOLDER}/{new_run_id(STAGE)}"
    place = output.join(run)
    findings = copy_covers(catalogue, findings, place)
    heard = write_media(catalogue, findings, config.report, place, progress)
    _write_data(catalogue, findings, config, heard, output, place)
    page = _write_page(output, run)
    _remove_older(output, run.split("/")[1])
    return ReportSummary(
        str(page),
        findings.sweep_id,
        samples=findings.count("sample"),
        duplicates=findings.count("duplicate"),
        places=findings.rows.num_rows,
        left_out=sum(max(0, count - config.report.detections) for count in findings.detections.values()),
        heard=len(heard),
        seconds=time.monotonic() - started,
    )


def _write_data(
    catalogue: Catalogue, findings: Findings, config: Config, heard: set[int], output: Location, place: Location
) -> None:
    """Write the page's data to `place` and the exports to `output`. heard: numbers of the places with sound."""
    pages = list(_write_pages(findings, heard, _seen_before(output), place))
    write_script(place.join("data", "network.js"), "network", network_data(findings))
    written = exports.write_exports(findings, output.join("exports"))
    head = _head(catalogue, findings, config, pages, len(heard)) | {"exports": written}
    write_script(place.join("data", "head.js"), "start", head)


def _write_page(output: Location, run: str) -> Location:
    """Write the page's own files, and last of all index.html, which names the folder `run`; returns its location."""
    template = resources.files("pipelines").joinpath("report", "assets")
    _copy_assets(template, output.join(run))
    page = output.join("index.html")
    page.write_bytes(template.joinpath("index.html").read_text("utf-8").replace("@FILES@", run).encode())
    return page


def _head(
    catalogue: Catalogue, findings: Findings, config: Config, pages: Sequence[dict[str, Any]], heard: int
) -> dict[str, Any]:
    """The data that the page loads first: a description of the report, and the files of its relations."""
    return {
        "catalogue": catalogue.location.name,
        "sweep": findings.sweep_id,
        "model": findings.model_id,
        "made": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "tracks": catalogue.count_tracks(),
        "detections": dict(findings.detections),
        "shown": {kind: findings.count(kind) for kind in KINDS},
        "places": findings.rows.num_rows,
        "most": config.report.detections,
        "sounds": {"places": heard, "mb": config.report.sound_mb},
        "pages": [{key: page[key] for key in ("file", "kind", "rows")} for page in pages],
        "fresh": sum(page["new"] for page in pages),  # relations that the previous report did not have
    }


def _write_pages(
    findings: Findings, heard: set[int], seen: frozenset[str], place: Location
) -> Iterator[dict[str, Any]]:
    """Write files of relations of one kind, best first, and files of their places; yields their entries in the head."""
    first = 0
    for kind in KINDS:
        relations = findings.relations.slice(first, findings.count(kind))
        for start in range(0, relations.num_rows, PAGE_RELATIONS):
            columns = relations.slice(start, PAGE_RELATIONS).to_pydict()
            name = f"data/{kind}-{start // PAGE_RELATIONS:04d}"
            page = relations_data(findings, columns, heard, seen)
            places = f"{name}-places.js"
            write_script(place.join(f"{name}.js"), "page", {"kind": kind, "file": places, **page})
            write_script(place.join(places), "places", places_data(findings, columns, heard))
            yield {"file": f"{name}.js", "kind": kind, "rows": len(page["q"]), "new": sum(page["new"])}
        first += relations.num_rows


def _seen_before(output: Location) -> frozenset[str]:
    """Ids of the relations of the earlier report in `output`; empty without one."""
    earlier = output.join("exports", "relations.parquet")
    if not earlier.exists():
        return frozenset()
    table = pq.read_table(pa.BufferReader(earlier.read_bytes()))
    return frozenset(table.column("relation_id").to_pylist() if "relation_id" in table.column_names else ())


def _copy_assets(folder: Traversable, place: Location) -> None:
    for asset in folder.iterdir():
        if asset.is_dir():
            _copy_assets(asset, place.join(asset.name))
        elif asset.name != "index.html":
            place.join(asset.name).write_bytes(asset.read_bytes())


def _remove_older(output: Location, run_id: str) -> None:
    """Delete the files of earlier reports."""
    older = output.join(FOLDER)
    for entry in list(older.list()):
        parts = entry.name.split("/")
        if entry.kind == "file" and len(parts) > 1 and parts[0] != run_id and f"-{STAGE}-" in parts[0]:
            older.join(entry.name).delete()
