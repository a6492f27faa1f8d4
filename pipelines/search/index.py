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
from pipelines.driver import run_on_node, run_tasks
from pipelines.runtime import ProgressCallback
from pipelines.search.approximate import nearest, open_table
from pipelines.store import fingerprints
from pipelines.store.catalogue import Catalogue, new_run_id

log = logging.getLogger(__name__)

STAGE = "index"
# by default as many as search.exact_below_rows, so only a config with fewer of those gets an IVF_FLAT
FLAT_BELOW_ROWS = 20_000_000  # IVF_FLAT stores whole vectors, 20 GB at 256 dimensions; larger indexes quantise them
ROWS_PER_PARTITION = 4096
MOST_SAMPLE, LEAST_SAMPLE = 256, 32  # rows for each partition that k-means is trained on; 256 is Lance's own default
SAMPLE_BYTES = 8 * 10**9  # of these rows, above which they become fewer
PROGRAM_BYTES = 10**9  # of the task, without the sample
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
    compacted = _compact(catalogue, name)
    table: Any = catalogue.table(name)
    rows = int(table.count_rows())
    model_id = name.removeprefix(fingerprints.PREFIX)
    if rows < config.search.exact_below_rows:
        log.info(
            "no index: %s rows are fewer than the %s of search.exact_below_rows, so asid query compares every row",
            f"{rows:,}",
            f"{config.search.exact_below_rows:,}",
        )
        return TableIndex(model_id, rows, "exact", compacted=compacted)
    kind = "IVF_FLAT" if rows < FLAT_BELOW_ROWS else "IVF_PQ"
    share = _known_recall(catalogue, model_id)
    if share is not None and not _is_behind(open_table(catalogue, model_id), kind):
        return TableIndex(model_id, rows, kind, share, compacted)
    catalogue.check_writing()
    sample_bytes = _sample_rows(rows, dim := table.schema.field("vector").type.list_size) * dim * 4
    arguments = (catalogue.location.uri, model_id, kind, config)
    built, share = run_on_node(build, *arguments, memory_bytes=PROGRAM_BYTES + 2 * sample_bytes)
    return TableIndex(model_id, rows, kind, share, compacted, built)


def _compact(catalogue: Catalogue, name: str) -> bool:
    """Join small fragments, because a scan opens each of them. Tasks write the new ones, and the driver commits."""
    from lance.optimize import Compaction, CompactionOptions, RewriteResult

    catalogue.check_writing()
    table: Any = catalogue.table(name)
    options = CompactionOptions()
    plan = Compaction.plan(table, options)
    arguments = [(catalogue.location.uri, name, task.json()) for task in plan.tasks]
    if not arguments:
        return False
    written = dict(run_tasks(compact, arguments))
    catalogue.check_writing()
    # in the order of the plan, so that rows keep theirs
    Compaction.commit(table, [RewriteResult.from_json(written[number]) for number in sorted(written)], options)
    return True


def compact(uri: str, name: str, task: str) -> str:
    """A Ray task: write the fragments of one task of a compaction plan, as JSON; returns what to commit, as JSON."""
    from lance.optimize import CompactionTask

    return str(CompactionTask.from_json(task).execute(Catalogue(uri).table(name)).json())


def _known_recall(catalogue: Catalogue, model_id: str) -> float | None:
    """The recall that was measured when the index of this model was last built."""
    for record in catalogue.runs_of(STAGE):
        for table in record.get("counts", {}).get("tables", ()):
            if table["model_id"] == model_id and table["built"]:
                return float(table["recall"])
    return None


def _is_behind(table: Any, kind: str) -> bool:
    """Whether there is no index of this kind, or it lacks rows."""
    stats = [table.index_stats(found.name) for found in table.list_indices() if found.columns == ["vector"]]
    return not any(some.index_type == kind and not some.num_unindexed_rows for some in stats)


def build(uri: str, model_id: str, kind: str, config: Config) -> tuple[bool, float]:
    """A Ray task: build or update the index of a model; returns whether anything was to do, and the recall."""
    catalogue = Catalogue(uri)
    return _build(catalogue, model_id, kind), recall(catalogue, model_id, config)


def _build(catalogue: Catalogue, model_id: str, kind: str) -> bool:
    """Build the index, or rebuild it if the table has doubled, or add new rows to it. False: nothing to do."""
    from lancedb.index import BTree, IvfFlat, IvfPq

    table = open_table(catalogue, model_id)
    if not _is_behind(table, kind):
        return False
    for found in table.list_indices():
        if found.columns == ["vector"]:
            stats = table.index_stats(found.name)
            if stats.index_type == kind and stats.num_unindexed_rows < stats.num_indexed_rows:
                table.optimize()
                return True
    rows, dim = table.count_rows(), table.schema.field("vector").type.list_size
    partitions = max(1, rows // ROWS_PER_PARTITION)
    options = {"distance_type": "dot", "num_partitions": partitions}
    options["sample_rate"] = max(1, _sample_rows(rows, dim) // partitions)
    table.create_index("vector", config=IvfFlat(**options) if kind == "IVF_FLAT" else IvfPq(**options))
    # used to exclude the query's own track, and to read only new tracks; either would scan every row without it
    table.create_index("track_id", config=BTree(), replace=True)
    return True


def _sample_rows(rows: int, dim: int) -> int:
    """Number of rows that k-means is trained on: 256 a partition, but only 32 where they would take too much memory."""
    partitions = max(1, rows // ROWS_PER_PARTITION)
    return partitions * max(LEAST_SAMPLE, min(MOST_SAMPLE, SAMPLE_BYTES // (partitions * dim * 4)))


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
