"""What do these files sample? The way of a sweep, for recordings that need not be in the catalogue."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from asid_core.config import Config
from asid_core.schema import DETECTIONS
from pipelines import fingerprints
from pipelines.audio import pieces_of_file
from pipelines.catalogue import Catalogue
from pipelines.identify import Identifier
from pipelines.sweep import find_references

SWEEP_ID = "query"  # of the rows: they are not kept


def query(files: Sequence[str], catalogue: Catalogue, config: Config, weights: str, top: int) -> pa.Table:
    """The best `top` rows (schema.DETECTIONS) of each file at or above the config's threshold; `query_id` is the file.

    Raises DecodeError or OSError for a file that cannot be read, CatalogueError where there are no fingerprints.
    """
    model = fingerprints.load_model(weights, config)
    _, references = find_references(catalogue, model)
    identifier = Identifier(catalogue, model, config, references)
    pieces = (piece for file in dict.fromkeys(files) for piece in pieces_of_file(file, catalogue))
    found = {name: rows for name, rows in identifier.identify(pieces)}
    rows = [row | {"sweep_id": SWEEP_ID} for file in files for row in found.get(file, [])[:top]]
    table = pa.Table.from_pylist(rows, schema=DETECTIONS)
    return table.filter(pc.greater_equal(table.column("score"), config.score.threshold))
