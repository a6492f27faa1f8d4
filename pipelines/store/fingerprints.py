"""The fingerprint tables: which model made one, who is in it, and how fragments written by workers are committed.

`lance` is imported inside functions: it is not fork-safe and must come after `ray.init`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import pyarrow as pa

from asid_core import schema
from asid_core.config import Config
from asid_core.model.fingerprinter import Fingerprinter
from asid_core.plain_values import ConfigError
from pipelines.store.catalogue import Catalogue

if TYPE_CHECKING:
    from lance import LanceDataset

PREFIX = "fingerprints-"


def load_model(weights: str, config: Config) -> Fingerprinter:
    """The model that `weights` names, ready for inference.

    Raises FileNotFoundError, and ConfigError where the weights are of another model than the config's.
    """
    model = Fingerprinter.from_pretrained(weights)
    theirs, ours = model.config.model, config.model
    if (theirs.front_end, theirs.encoder) != (ours.front_end, ours.encoder):
        raise ConfigError(
            f"the weights {weights} are of a model {theirs.name!r} that the config's {ours.name!r} is not: leave out "
            "--config (the weights have theirs with them), or give other weights"
        )
    return model


def table_name(model_id: str) -> str:
    """Of the fingerprints that a model made: two models never mix."""
    return PREFIX + model_id


def tables(catalogue: Catalogue) -> list[str]:
    """Names of the fingerprint tables of a catalogue, whatever their model."""
    names = (name.removesuffix(".lance") for name in catalogue.location.folders())
    return sorted(name for name in names if name.startswith(PREFIX))


def embedded(table: LanceDataset | None) -> Iterator[tuple[str, str]]:
    """(track_id, content_hash) of everything in the table. A track is committed whole, so its first window tells."""
    if table is not None:
        for batch in table.to_batches(columns=["track_id", "content_hash"], filter="window_index = 0"):
            yield from zip(batch.column(0).to_pylist(), batch.column(1).to_pylist(), strict=True)


def create(catalogue: Catalogue, name: str, dim: int) -> None:
    """Make the table, empty, if it is not there. Driver only."""
    import lance

    if catalogue.table(name) is None:
        uri, options = catalogue.location.join(f"{name}.lance").lance()
        lance.write_dataset(schema.fingerprints(dim).empty_table(), uri, storage_options=options)


def write_fragments(catalogue: Catalogue, name: str, dim: int, rows: Iterable[pa.RecordBatch]) -> list[str]:
    """Write rows as fragments that nobody sees before `append`; returns them as JSON. For workers."""
    from lance.fragment import write_fragments

    uri, options = catalogue.location.join(f"{name}.lance").lance()
    columns = schema.fingerprints(dim)
    reader = pa.RecordBatchReader.from_batches(columns, iter(rows))
    written = write_fragments(reader, uri, schema=columns, mode="append", storage_options=options)
    return [json.dumps(fragment.to_json()) for fragment in written]


def append(catalogue: Catalogue, name: str, fragments: list[str], stale: list[str]) -> None:
    """Make fragments visible in one commit, after the rows of the tracks `stale` are gone. Driver only."""
    import lance
    from lance.fragment import FragmentMetadata

    catalogue.delete(name, "track_id", stale)
    table = catalogue.table(name)
    if table is not None and fragments:
        uri, options = catalogue.location.join(f"{name}.lance").lance()
        operation = lance.LanceOperation.Append([FragmentMetadata.from_json(text) for text in fragments])
        lance.LanceDataset.commit(uri, operation, read_version=table.version, storage_options=options)
