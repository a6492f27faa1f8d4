"""Which tracks a fingerprint table holds, without reading all of its rows each time.

A file lists the tracks of each fragment of the table. A fragment never changes, except that rows of it are deleted, so
only fragments that the file does not know are read. Nothing is lost with the file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.store.catalogue import Catalogue
from pipelines.store.errors import CatalogueError
from pipelines.store.files import damage_named, read_arrow
from pipelines.store.location import Location
from pipelines.store.pairs import EMPTY, PAIR

if TYPE_CHECKING:
    from lance import LanceDataset

FIRST_WINDOWS = "window_index = 0"  # tracks are committed whole, so their first windows are enough
# one row for each fragment
LISTED = pa.schema([("fragment", pa.string()), *((name, pa.list_(pa.string())) for name in PAIR)])


def embedded(catalogue: Catalogue, name: str, table: LanceDataset | None) -> pa.Table:
    """The track_id and content_hash of every track in `table`, a version of the fingerprint table `name`.

    A run that holds the lease keeps the list for later calls, which then read nothing.
    """
    if table is None:
        return EMPTY
    place = list_of(catalogue, name)
    fragments = {_key(fragment): fragment for fragment in table.get_fragments()}
    known = _known(place)
    fresh = sorted(fragments.keys() - set(known["fragment"].to_pylist()))
    if fresh:
        with damage_named(catalogue.location.join(f"{name}.lance")):
            known = pa.concat_tables([known, _listed(table, fresh, [fragments[key] for key in fresh])])
    order = pc.index_in(pa.array(fragments, pa.string()), value_set=known["fragment"].combine_chunks())
    known = known.take(order)
    if fresh and catalogue.holds_lease:
        with place.writing() as stream, pa.ipc.new_file(stream, LISTED) as file:
            file.write_table(known)
    return pa.table({name: pc.list_flatten(known[name]) for name in PAIR})


def list_of(catalogue: Catalogue, name: str) -> Location:
    """The file that lists the tracks of the fingerprint table `name`. It may be missing."""
    return catalogue.location.join("embedded", f"{name}.arrow")


def _key(fragment: Any) -> str:
    """What identifies the rows of a fragment: the names of its files and the id of its deletions, which are random."""
    deletions = fragment.metadata.to_json()["deletion_file"]
    return "+".join([*(file.path for file in fragment.data_files()), str(deletions["id"] if deletions else "")])


def _known(place: Location) -> pa.Table:
    with contextlib.suppress(FileNotFoundError, CatalogueError):  # damaged: it is made anew
        table = read_arrow(place)
        if table.schema.equals(LISTED):
            return table
    return LISTED.empty_table()


def _listed(table: LanceDataset, keys: Sequence[str], fragments: Sequence[Any]) -> pa.Table:
    """Rows of LISTED for these fragments, read from the table."""
    options: dict[str, Any] = {"fragments": fragments, "with_row_address": True}
    rows = table.scanner(columns=PAIR, filter=FIRST_WINDOWS, **options).to_table().sort_by("_rowaddr")
    row_fragment = rows["_rowaddr"].to_numpy() >> 32
    order = np.argsort([fragment.fragment_id for fragment in fragments])
    edges = np.searchsorted(row_fragment, [fragments[at].fragment_id for at in order])
    offsets = pa.array([*edges, len(row_fragment)], pa.int32())
    lists = (pa.ListArray.from_arrays(offsets, rows[name].combine_chunks()) for name in PAIR)
    return pa.Table.from_arrays([pa.array([keys[at] for at in order], pa.string()), *lists], schema=LISTED)
