"""Reads the files of a catalogue. Errors name the damaged file and say what to do."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.runtime import STORE_ERRORS
from pipelines.store.errors import CatalogueError
from pipelines.store.location import Location


def read_json(place: Location) -> dict[str, Any]:
    """The object in a JSON file. Raises FileNotFoundError, CatalogueError."""
    try:
        values = json.loads(place.read_bytes())
    except (ValueError, RecursionError) as error:
        raise damaged(place, error) from None
    if not isinstance(values, dict):
        raise damaged(place, "it holds no settings")
    return values


@contextlib.contextmanager
def parquet(place: Location) -> Iterator[pq.ParquetFile]:
    """A Parquet file, open for reading. It, and reads in the block, raise FileNotFoundError or CatalogueError."""
    with damage_named(place), arrow_file(place) as stream, pq.ParquetFile(stream) as file:
        yield file


def read_arrow(place: Location) -> pa.Table:
    """The table in an Arrow file. Raises FileNotFoundError, CatalogueError."""
    with damage_named(place):
        return pa.ipc.open_file(pa.py_buffer(place.read_bytes())).read_all()


def arrow_file(place: Location) -> pa.NativeFile:
    """Random access to the file's bytes. Raises FileNotFoundError, StorageError for a pipe or a device."""
    filesystem, path = place.arrow()
    if not place.is_s3:
        place.stat()  # opening a pipe would block forever
    return filesystem.open_input_file(path)


def refuse_pipes(place: Location) -> None:
    """Raises CatalogueError if this local folder contains a pipe or a device, on which Lance would block forever."""
    if not place.is_s3:
        for folder, _, names in os.walk(place.uri):
            for name in names:
                path = os.path.join(folder, name)
                with contextlib.suppress(FileNotFoundError):  # another process has removed it meanwhile
                    if not stat.S_ISREG(os.stat(path).st_mode):
                        raise damaged(Location(path), "it is a pipe, a socket or a device")


@contextlib.contextmanager
def damage_named(place: Location) -> Iterator[None]:
    """Raises CatalogueError when Arrow or Lance cannot interpret what the block reads from `place`."""
    try:
        yield
    except (pa.ArrowException, ValueError, KeyError, OSError) as error:  # KeyError: a column is missing
        # Arrow raises a plain OSError without errno for bad bytes; system errors have an errno, ours a subclass
        of_system = isinstance(error, OSError) and (type(error) is not OSError or error.errno is not None)
        # where the store failed, the file itself may be intact
        if of_system or any(text in str(error) for text in STORE_ERRORS):
            raise
        raise damaged(place, error) from error


def damaged(place: Location, problem: object) -> CatalogueError:
    """The error for a damaged file."""
    return CatalogueError(f"{place} is damaged ({problem}). Restore it from a backup.")
