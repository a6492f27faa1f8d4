"""Compacts fingerprint tables, builds vector indexes for large ones, and measures the recall of the indexes."""

from __future__ import annotations

import dataclasses
import logging
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch.nn.functional import normalize

from asid_core.config import Config
from pipelines import metrics
from pipelines.runtime import ProgressCallback
from pipelines.search.approximate import nearest, open_table
from pipelines.store import fingerprints
from pipelines.store.catalogue import Catalogue, new_run_id

log = logging.getLogger(__name__)

STAGE = "index"
# by default as many as search.exact_below_rows, so only a config with fewer of those gets an IVF_FLAT
FLAT_BELOW_ROWS = 20_000_000  # IVF_FLAT stores whole vectors, 20 GB at 256 dimensions; larger indexes quantise them
ROWS_PER_PARTITION = 4096
SAMPLE, TOP = 256, 10
ROUNDING = 1e-5  # tolerance of cosines: equally near rows are equally good


@dataclass(frozen=True)
class TableIndex:
    """The table of one model after `index`. recall: the share of the exact 10 nearest rows that the index finds."""

    model_id: str
    rows: int
    kind: str  # 'exact', 'IVF_FLAT' or 'IVF_PQ'
    recall: float | None = None
    compacted: bool = False
    built: bool = False

    def __str__(self) -> str:
        done = "compacted, " if self.compacted else ""
        if self.recall is None:
            return f"model {self.model_id}: {done}{self.rows:,} rows, exact search"
        state = "built" if self.built else "up to date"
        return f"model {self.model_id}: {done}{self.rows:,} rows, {self.kind} {state}, recall@{TOP} {self.recall:.3f}"


@dataclass(frozen=True)
class IndexSummary:
    """The result of `index` for all fingerprint tables of the catalogue."""

    tables: tuple[TableIndex, ...]
    seconds: float

    def __str__(self) -> str:
        return "; ".join(map(str, self.tables)) or "no fingerprints yet; run asid embed first"


def index(catalogue: Catalogue, config: Config, progress: ProgressCallback | None = None) -> IndexSummary:
    """Compact each fingerprint table, and build or update its index if it has `search.exact_below_rows` rows or more.

    Raises LeaseError if another process writes to the catalogue.
    """
    started = time.monotonic()
    tables = fingerprints.tables(catalogue)
    found = []
    with catalogue.writing(STAGE):
        for number, name in enumerate(tables, start=1):
            found.append(_index(catalogue, name, config))
            log.info("index: %s", found[-1])
            if progress is not None:
                progress({"stage": STAGE, "done": number, "total": len(tables), "unit": "tables"})
        summary = IndexSummary(tuple(found), time.monotonic() - started)
        metrics.report_stage({"stage": STAGE}, summary.seconds)
        if any(table.compacted or table.built for table in found):
            record = {"verb": STAGE, "outcome": "done", "counts": dataclasses.asdict(summary)}
            catalogue.record_run(new_run_id(STAGE), record)
    return summary


def _index(catalogue: Catalogue, name: str, config: Config) -> TableIndex:
    table: Any = catalogue.table(name)
    catalogue.check_writing()
    compacted = table.optimize.compact_files().fragments_removed > 0  # a scan opens every fragment, so few are faster
    rows = int(table.count_rows())
    model_id = name.removeprefix(fingerprints.PREFIX)
    if rows < config.search.exact_below_rows:
        log.info(
            "exact search: %s rows are fewer than the %s of search.exact_below_rows, so every row is compared",
            f"{rows:,}",
            f"{config.search.exact_below_rows:,}",
        )
        return TableIndex(model_id, rows, "exact", compacted=compacted)
    kind = "IVF_FLAT" if rows < FLAT_BELOW_ROWS else "IVF_PQ"
    catalogue.check_writing()
    built = _build(catalogue, model_id, kind, rows)
    return TableIndex(model_id, rows, kind, recall(catalogue, model_id, config), compacted, built)


def _build(catalogue: Catalogue, model_id: str, kind: str, rows: int) -> bool:
    """Build the index, or rebuild it if the table has doubled, or add new rows to it. False: nothing to do."""
    from lancedb.index import BTree, IvfFlat, IvfPq

    table = open_table(catalogue, model_id)
    vectors = [found for found in table.list_indices() if found.columns == ["vector"]]
    for found in vectors:
        stats = table.index_stats(found.name)
        if stats.index_type == kind and not stats.num_unindexed_rows:
            return False
        if stats.index_type == kind and stats.num_unindexed_rows < stats.num_indexed_rows:
            table.optimize()
            return True
    options = {"distance_type": "dot", "num_partitions": max(1, rows // ROWS_PER_PARTITION)}
    table.create_index("vector", config=IvfFlat(**options) if kind == "IVF_FLAT" else IvfPq(**options))
    # used to exclude the query's own track, and to read only new tracks; either would scan every row without it
    table.create_index("track_id", config=BTree(), replace=True)
    return True


def recall(catalogue: Catalogue, model_id: str, config: Config) -> float:
    """Share of the 10 nearest rows that the index finds. Queries are sums of two rows, like a mix of two recordings."""
    table: Any = catalogue.table(fingerprints.table_name(model_id))
    rng = np.random.default_rng(0)
    some = table.take(np.sort(rng.integers(0, table.count_rows(), 2 * SAMPLE)).tolist(), columns=["vector"])
    vectors = _vectors(some["vector"].combine_chunks())
    queries = normalize(vectors[rng.permutation(len(vectors))].view(2, SAMPLE, -1).sum(0), dim=1)
    best = torch.full((SAMPLE, TOP), -1.0)
    for batch in table.to_batches(columns=["vector"]):
        best = torch.cat([best, queries @ _vectors(batch.column("vector")).T], 1).topk(TOP, dim=1).values
    found = nearest(open_table(catalogue, model_id), queries.numpy(), TOP, config.search)
    at, cosine = found["query_index"].to_numpy(), 1 - found["_distance"].to_numpy()
    return float((cosine >= best[at, -1].numpy() - ROUNDING).sum()) / best.numel()


def _vectors(column: pa.FixedSizeListArray) -> torch.Tensor:
    return torch.tensor(column.flatten().to_numpy()).view(len(column), -1)
