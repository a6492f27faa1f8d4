"""Finds what files sample, like a sweep, for recordings that need not be in the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from asid_core.config import Config
from asid_core.signal.decode import DecodeError
from pipelines.search.identify import Identifier
from pipelines.search.sweep_plan import find_references
from pipelines.store import detections, fingerprints
from pipelines.store.audio import Segment, segments_of_file
from pipelines.store.catalogue import Catalogue

SWEEP_ID = "query"  # of the rows, which are not stored


def query(
    files: Sequence[str], catalogue: Catalogue, config: Config, weights: str, top: int | None = None
) -> tuple[pa.Table, dict[str, str]]:
    """The best `top` detections (schema.DETECTIONS; None: all) of each file that reach the threshold.

    `query_id` is the file. Also returns errors by file, for files that are unusable (damaged, silent, too short). The
    part of a file before the damage is used. Raises CatalogueError if there are no fingerprints.
    """
    model = fingerprints.load_model(weights, config)
    _, references = find_references(catalogue, model)
    identifier = Identifier(catalogue, model, config, references)
    unreadable: dict[str, str] = {}
    found = dict(identifier.identify(_segments(dict.fromkeys(files), catalogue, config, unreadable)))
    table = detections.table((one for file in files for one in found.get(file, [])[:top]), SWEEP_ID)
    return table.filter(pc.greater_equal(table.column("score"), config.score.threshold)), unreadable


def _segments(
    files: Iterable[str], catalogue: Catalogue, config: Config, unreadable: dict[str, str]
) -> Iterator[Segment]:
    for file in files:
        try:
            yield from segments_of_file(file, catalogue, config.segment)
        except (DecodeError, OSError) as error:
            unreadable[file] = str(error)
