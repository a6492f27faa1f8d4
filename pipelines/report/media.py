"""Writes the sound and pictures of places and the covers of tracks into the report."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import torch

from asid_core.config import ReportConfig
from pipelines.report import listening, snippets
from pipelines.report.findings import Findings
from pipelines.report.page_data import write_script
from pipelines.runtime import ProgressCallback
from pipelines.store import covers
from pipelines.store.catalogue import Catalogue
from pipelines.store.location import Location

log = logging.getLogger(__name__)

COVERS = 2000  # most covers in a report, some 4 kB each; those of the best relations
COPIES_AT_ONCE = 16  # on S3 a copy is two requests


def write_media(
    catalogue: Catalogue,
    findings: Findings,
    config: ReportConfig,
    place: Location,
    progress: ProgressCallback | None,
) -> set[int]:
    """Write the audio and pictures of the places that fit into `report.sound_mb`; returns the places' numbers."""
    wanted = snippets.places_to_hear(findings, config.sound_mb * 1e6, config.snippet_s)
    heard: set[int] = set()

    def write(one: snippets.PlaceToHear) -> int:
        write_script(place.join("media", f"{one.number}.js"), "media", one.number, listening.media(one))
        return one.number

    # encoders and transforms release the GIL; threads of torch inside these threads would only wait
    with ThreadPoolExecutor(os.cpu_count() or 1, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for some in snippets.cut(catalogue, wanted):
            for number in pool.map(write, some):
                heard.add(number)
                if progress is not None:
                    progress({"stage": "report", "done": len(heard), "total": len(wanted), "unit": "places"})
    if len(heard) < len(wanted):
        log.warning("%d places have no audio: their tracks have left the catalogue", len(wanted) - len(heard))
    return heard


def copy_covers(catalogue: Catalogue, findings: Findings, place: Location) -> Findings:
    """Copy the covers of the best relations' tracks; returns the findings without the covers that were not copied."""
    names = list(dict.fromkeys(_covers(findings)))[:COVERS]

    def copy(name: str) -> str | None:
        jpeg = covers.read(catalogue.location, name)
        if jpeg is None:
            return None
        place.join(covers.FOLDER, name).write_bytes(jpeg)
        return name

    with ThreadPoolExecutor(COPIES_AT_ONCE) as pool:
        copied = set(pool.map(copy, names)) - {None}
    missing = {key: replace(one, cover=None) for key, one in findings.tracks.items() if one.cover not in copied}
    return replace(findings, tracks={**findings.tracks, **missing})


def _covers(findings: Findings) -> Iterator[str]:
    """Names of the covers of both sides of all relations, in their order."""
    sides = (findings.relations.column(f"{side}_id").to_pylist() for side in ("query", "reference"))
    for pair in zip(*sides, strict=True):
        yield from (name for track_id in pair if (name := findings.tracks[track_id].cover))
