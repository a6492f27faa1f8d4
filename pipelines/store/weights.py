"""Weights that lie in an object store, as a local folder."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipelines.store.location import Location


@contextlib.contextmanager
def local_weights(uri: str) -> Iterator[str]:
    """What `Fingerprinter.from_pretrained` takes: `uri` itself, or a temporary copy of the files at an s3:// prefix."""
    if not uri.startswith("s3://"):
        yield uri
        return
    with tempfile.TemporaryDirectory(prefix="asid-weights-") as directory:
        for name in ("config.json", "model.safetensors"):
            (Path(directory) / name).write_bytes(Location(uri).join(name).read_bytes())
        yield directory
