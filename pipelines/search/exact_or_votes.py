"""Whether a sweep compares every row or takes votes, and the room that votes need."""

from __future__ import annotations

import logging

from asid_core.config import Config, SearchConfig
from pipelines.driver import Room, room, tasks_have_gpus
from pipelines.search.exact import References
from pipelines.search.voted import PROGRAM_BYTES, row_bytes
from pipelines.store.catalogue import CatalogueError

log = logging.getLogger(__name__)

# For less audio of queries, to compare every row takes less time than to make the lists: by the measured rates, for 7
# tracks of 4 minutes among 15 million rows, for 4 among 1.5 million
LEAST_QUERIES_S = 1800.0


def takes_votes(rows: int, queries_s: float, needed: Room, search: SearchConfig) -> bool:
    """Whether a sweep takes votes. Needs a running Ray.

    rows: of the table. queries_s: duration of the query tracks. needed: as from `needed`. Below
    `search.exact_below_rows`, every row is compared where that is faster, on GPUs or for few queries, and where there
    is no room for votes.
    """
    if rows >= search.exact_below_rows:
        return True
    if rows < search.votes_from_rows or queries_s < LEAST_QUERIES_S or tasks_have_gpus():
        return False
    if not _fits(needed, room()):
        log.warning("sweep: no node has the memory for votes, so every row is compared, which takes longer")
        return False
    return True


def needed(references: References, config: Config, dim: int) -> Room:
    """What votes need: memory on one node to make the lists, and in the object store of every node to hold them."""
    table_bytes = references.num_rows * row_bytes(config, dim)
    return Room(PROGRAM_BYTES + 2 * table_bytes, table_bytes)  # what is read, and what is sorted


def check_room(needed: Room) -> None:
    """Raise CatalogueError if no node can make the votes, or some node cannot hold them."""
    there = room()
    if there is not None and not _fits(needed, there):
        raise CatalogueError(
            f"a sweep of so many fingerprints takes votes: {needed.memory_bytes / 1e9:,.1f} GB of memory on one node, "
            f"which have {there.memory_bytes / 1e9:,.1f} GB, and {needed.store_bytes / 1e9:,.1f} GB in the object "
            f"store of each, which have {there.store_bytes / 1e9:,.1f} GB. Use larger nodes, sweep parts of the "
            "references with --references, or compare every row, which takes longer, with a higher --set "
            "search.exact_below_rows."
        )


def _fits(needed: Room, there: Room | None) -> bool:
    """Whether there is room. Without a node yet, an autoscaler starts one that has it."""
    return there is None or (there.memory_bytes >= needed.memory_bytes and there.store_bytes >= needed.store_bytes)
