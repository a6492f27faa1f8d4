"""The fingerprint tables: their names, which tracks they hold, and how fragments written by workers are committed.

`lance` is imported inside functions, because it is not fork-safe and must be imported after `ray.init`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from asid_core import schema
from asid_core.config import Config
from asid_core.model.fingerprinter import Fingerprinter
from asid_core.plain_values import ConfigError
from pipelines.store.catalogue import IDS_PER_FILTER, Catalogue, CatalogueError, is_one_of

if TYPE_CHECKING:
    from lance import LanceDataset

PREFIX = "fingerprints-"
COMMIT_TRIES = 5  # conflicts are rare: only a process without our lease can cause one


def load_model(weights: str, config: Config) -> Fingerprinter:
    """The model that `weights` names, ready for inference.

    Raises FileNotFoundError if there are no such weights, ConfigError if they are for another model than the config.
    """
    model = Fingerprinter.from_pretrained(weights)
    theirs, ours = model.config.model, config.model
    if (theirs.front_end, theirs.encoder) != (ours.front_end, ours.encoder):
        raise ConfigError(
            f"weights {weights} are for model {theirs.name!r}, but the config is for {ours.name!r}. "
            "Drop --config, or pass matching weights."
        )
    return model


def table_name(model_id: str) -> str:
    """Name of the fingerprint table of a model. Fingerprints of different models are never mixed."""
    return PREFIX + model_id


def tables(catalogue: Catalogue) -> list[str]:
    """Names of all fingerprint tables of a catalogue."""
    names = (name.removesuffix(".lance") for name in catalogue.location.folders())
    return sorted(name for name in names if name.startswith(PREFIX))


def create(catalogue: Catalogue, name: str, dim: int) -> LanceDataset:
    """Open the table, or create it without rows. Driver only."""
    import lance

    table = catalogue.table(name)
    if table is not None:
        return table
    catalogue.check_writing()
    uri, options = catalogue.location.join(f"{name}.lance").lance()
    return lance.write_dataset(schema.fingerprints(dim).empty_table(), uri, storage_options=options)


def write_fragments(catalogue: Catalogue, name: str, dim: int, rows: Iterable[pa.RecordBatch]) -> list[str]:
    """Write rows as fragments, which stay invisible until `append`; returns their JSON. For workers."""
    from lance.fragment import write_fragments

    uri, options = catalogue.location.join(f"{name}.lance").lance()
    columns = schema.fingerprints(dim)
    reader = pa.RecordBatchReader.from_batches(columns, iter(rows))
    written = write_fragments(reader, uri, schema=columns, mode="append", storage_options=options)
    return [json.dumps(fragment.to_json()) for fragment in written]


def append(catalogue: Catalogue, name: str, fragments: list[str], track_ids: Sequence[str], seen: int) -> int:
    """Make `fragments`, the rows of `track_ids`, visible in one commit; returns the table's version. Driver only.

    seen: a version of the table in which these tracks have no rows. If somebody else has committed since, the tracks
    are looked up again before the commit.
    Raises CatalogueError if another run has already embedded one of them, or if commits keep failing.
    """
    from lance.commit import CommitConflictError

    for _ in range(COMMIT_TRIES):
        catalogue.check_writing()
        table = catalogue.table(name)
        assert table is not None, "create() comes first"
        if table.version != seen and (double := next(_present(table, track_ids), None)):
            raise CatalogueError(f"{name} already has fingerprints of {double}: another run embedded it meanwhile")
        seen = table.version
        with contextlib.suppress(CommitConflictError):
            return _append_to(catalogue, name, table, fragments)
    raise CatalogueError(f"{name} changed {COMMIT_TRIES} times during a commit. Is another run using this catalogue?")


def _present(table: LanceDataset, track_ids: Sequence[str]) -> Iterator[str]:
    """Those of `track_ids` that have rows in this version of the table."""
    for start in range(0, len(track_ids), IDS_PER_FILTER):
        wanted = is_one_of("track_id", track_ids[start : start + IDS_PER_FILTER])
        for batch in table.to_batches(columns=["track_id"], filter=f"window_index = 0 AND {wanted}"):
            yield from batch.column(0).to_pylist()


def _append_to(catalogue: Catalogue, name: str, table: LanceDataset, fragments: list[str]) -> int:
    """Commit `table` with more fragments. Raises CommitConflictError if it is no longer the newest version.

    Uses a Merge, because Lance would let two concurrent Appends to one version both succeed.
    """
    import lance
    from lance.fragment import FragmentMetadata

    present = [fragment.metadata for fragment in table.get_fragments()]
    first = max((fragment.id for fragment in present), default=-1) + 1
    new = [json.dumps(json.loads(text) | {"id": first + number}) for number, text in enumerate(fragments)]
    merge = lance.LanceOperation.Merge([*present, *map(FragmentMetadata.from_json, new)], table.schema)
    uri, options = catalogue.location.join(f"{name}.lance").lance()
    committed = lance.LanceDataset.commit(uri, merge, read_version=table.version, storage_options=options)
    return int(committed.version)
