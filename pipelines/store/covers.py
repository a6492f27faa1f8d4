"""Covers: small JPEGs in the catalogue, named by their content, so that the tracks of an album share one file."""

from __future__ import annotations

import hashlib
import re

from pipelines.store.location import Location

FOLDER = "covers"
NAME = re.compile(r"[0-9a-f]{32}\.jpg")


def add(catalogue: Location, jpeg: bytes) -> str:
    """Store a cover unless it is there already; returns its name. Any process may call this."""
    name = f"{hashlib.blake2b(jpeg, digest_size=16).hexdigest()}.jpg"
    place = catalogue.join(FOLDER, name)
    if not place.exists():
        place.write_bytes(jpeg)
    return name


def read(catalogue: Location, name: str) -> bytes | None:
    """The cover of this name; None if there is none or if it is no name of a cover."""
    try:
        return catalogue.join(FOLDER, name).read_bytes() if NAME.fullmatch(name) else None
    except FileNotFoundError:
        return None
