"""When a corpus has changed: told by the operating system for a folder here, by looking again for anything else."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from watchfiles import Change, watch

from asid_core.signal.formats import AUDIO_SUFFIXES, suffix_of
from pipelines.store.location import Location


def changes(corpus: Location, catalogue: Location, every_s: float, settle_s: float) -> Iterator[None]:
    """Yields when it is time to bring the catalogue up to date: at once, and then after each change.

    A change of a folder here counts once nothing has changed for `settle_s`, so that a copy in progress ends first.
    Whatever it is, it is looked at again after `every_s`: network file systems and buckets tell nothing. Never ends.
    """
    if not corpus.is_s3 and corpus.is_folder():
        yield from _of_folder(Path(corpus.uri), catalogue.uri, every_s, settle_s)
    while True:
        yield
        time.sleep(every_s)


def _of_folder(folder: Path, catalogue: str, every_s: float, settle_s: float) -> Iterator[None]:
    def counts(_: Change, path: str) -> bool:
        return is_of_corpus(path, catalogue)

    waits, looked = True, time.monotonic()
    timeout_ms = max(1, round(1000 * settle_s))
    for found in watch(folder, watch_filter=counts, rust_timeout=timeout_ms, yield_on_timeout=True):
        if found:
            waits = True
        elif waits or time.monotonic() - looked >= every_s:
            yield
            waits, looked = False, time.monotonic()


def is_of_corpus(path: str, catalogue: str) -> bool:
    """Whether a path that changed may be a recording, or a folder of some; a catalogue may lie in its corpus."""
    if path == catalogue or path.startswith(catalogue.rstrip(os.sep) + os.sep):
        return False
    suffix = suffix_of(path)
    return suffix in AUDIO_SUFFIXES or not suffix
