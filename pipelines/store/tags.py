"""Tags: names for states of a catalogue that must stay, whatever `reindex` does and cleans up later.

A tag is a Lance tag on every table, which keeps the version and its files, and tags/NAME.json, which lists these
versions and the finished sweeps. An asid that knew no tags would delete segments that only a tagged version uses, so a
catalogue with tags has a format that such an asid refuses.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from pipelines.store import detections, fingerprints
from pipelines.store.catalogue import Catalogue
from pipelines.store.errors import CatalogueError
from pipelines.store.files import read_json
from pipelines.store.location import Location

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
TABLES = "tables"
SWEEPS = "sweeps"


def all_tags(catalogue: Catalogue) -> list[dict[str, Any]]:
    """The contents of each tags/NAME.json: tag, created (UTC), tables (name -> version), sweeps (ids). By name."""
    folder = catalogue.location.join("tags")
    return [read_json(folder.join(entry.name)) for entry in folder.list() if entry.name.endswith(".json")]


def create(catalogue: Catalogue, name: str) -> dict[str, Any]:
    """Tag what the catalogue is now; returns what `all_tags` lists. Migrates it to the format with tags. Driver only.

    Raises CatalogueError if the name is not usable or taken.
    """
    if not NAME.fullmatch(name):
        raise CatalogueError(f"{name!r} is no name for a tag: up to 100 letters, digits, dots, hyphens, underscores")
    if (file := _file(catalogue, name)).exists():
        raise CatalogueError(f"there is a tag {name!r} already. Remove it first, or choose another name.")
    catalogue.migrate()
    versions = {}
    for table_name, table in _tables(catalogue):
        catalogue.check_writing()
        if name in table.tags.list():  # of a run that was killed here
            table.tags.delete(name)
        table.tags.create(name, table.version)
        versions[table_name] = table.version
    sweeps = [head["sweep_id"] for head in detections.sweeps(catalogue)]
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    tag = {"tag": name, "created": created, TABLES: versions, SWEEPS: sweeps}
    file.write_bytes(json.dumps(tag, indent=2).encode())
    return tag


def remove(catalogue: Catalogue, name: str) -> None:
    """Remove a tag; the next `reindex` deletes what only it kept. Driver only. A killed call is simply repeated.

    Raises CatalogueError if it is unknown.
    """
    tagged = [table for _, table in _tables(catalogue) if name in table.tags.list()]
    if not tagged:
        _tag(catalogue, name)
    catalogue.check_writing()
    _file(catalogue, name).delete()
    for table in tagged:
        catalogue.check_writing()
        table.tags.delete(name)


def restore(catalogue: Catalogue, name: str) -> dict[str, Any]:
    """Make tracks, fingerprints and sweeps what they were at a tag; returns what `all_tags` lists. Driver only.

    Fingerprints of models that came later stay. Rejects are not restored. A killed restore is simply started again.
    Raises CatalogueError if the tag is unknown.
    """
    tag = _tag(catalogue, name)
    for table_name, version in tag[TABLES].items():
        table: Any = catalogue.table(table_name)
        if table is None:
            raise CatalogueError(f"{table_name} of tag {name!r} is gone from {catalogue.location}")
        catalogue.check_writing()
        table.checkout_version(version).restore()
    for sweep_id in detections.ids(catalogue):
        if sweep_id not in tag[SWEEPS]:
            catalogue.check_writing()
            detections.delete(catalogue, sweep_id)
    return tag


def tracks(catalogue: Catalogue, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Stream the tracks of every tag, as `Catalogue.tracks` does."""
    for tag in all_tags(catalogue):
        if "tracks" in tag[TABLES]:
            yield from catalogue.tracks(columns, version=tag[TABLES]["tracks"])


def sweep_ids(catalogue: Catalogue) -> set[str]:
    """The sweeps that any tag keeps."""
    return {sweep_id for tag in all_tags(catalogue) for sweep_id in tag[SWEEPS]}


def _file(catalogue: Catalogue, name: str) -> Location:
    return catalogue.location.join("tags", f"{name}.json")


def _tag(catalogue: Catalogue, name: str) -> dict[str, Any]:
    for tag in (tags := all_tags(catalogue)):
        if tag["tag"] == name:
            return tag
    known = ", ".join(tag["tag"] for tag in tags)
    raise CatalogueError(f"there is no tag {name!r}. " + (f"The tags are {known}." if known else "There are no tags."))


def _tables(catalogue: Catalogue) -> Iterator[tuple[str, Any]]:
    for name in ["tracks", *fingerprints.tables(catalogue)]:
        table = catalogue.table(name)
        if table is not None:
            yield name, table
