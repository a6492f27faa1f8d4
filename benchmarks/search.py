"""Compares exact search with the indexes of LanceDB and FAISS on the same fingerprints: queries/s and recall@10.

Vectors are surrogates of the distractors of the wild validation benchmark, track by track, so that neighbours are as
similar as in music. A query is the sum of two rows of the table, like one piece of music mixed with another.
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import normalize

from asid_core import config as configs
from asid_core.config import FirstPassConfig
from asid_core.matching.coarse import GROUP, ExactSearch
from benchmarks.lib.among_distractors import WEIGHTS, catalogue_in
from benchmarks.lib.meter import rate
from benchmarks.lib.quality_bench import is_made
from benchmarks.lib.results import write_json, write_section
from benchmarks.lib.synthetic import vectors_like
from benchmarks.lib.validation_bench import BENCH
from benchmarks.lib.validation_bench import COMMAND as MADE_BY
from pipelines.store.catalogue import Catalogue

COMMAND = "make -C benchmarks search"
SIZES = (100_000, 1_000_000)
QUERIES, TOP = 1024, 10
ROWS_PER_PARTITION = 4096
Vectors = npt.NDArray[np.float32]
Search = Callable[[Vectors], npt.NDArray[np.int64]]  # [n, dim] -> indices of the TOP nearest rows [n, TOP]


@dataclass(frozen=True)
class Speed:
    """The measurements of one search method on one table."""

    rows: int
    way: str
    build_s: float
    queries_per_second: float
    recall: float


def laid_over(rows: Vectors) -> Vectors:
    chosen = np.random.default_rng(1).integers(0, len(rows), (2, QUERIES))
    return normalize(torch.from_numpy(rows[chosen].sum(0)), dim=1).numpy()


def exact(rows: Vectors, dtype: torch.dtype = torch.float32) -> Search:
    """Exact search of every row, in blocks; the reference for all other methods."""
    table = torch.from_numpy(rows).to(dtype)

    def search(queries: Vectors) -> npt.NDArray[np.int64]:
        wanted = torch.from_numpy(queries).to(dtype)
        best, at = torch.full((len(queries), TOP), -2.0), torch.zeros((len(queries), TOP), dtype=torch.int64)
        for start in range(0, len(table), 65_536):
            found = (wanted @ table[start : start + 65_536].T).float().topk(TOP, dim=1)
            both = torch.cat([best, found.values], 1).topk(TOP, dim=1)
            at = torch.cat([at, found.indices + start], 1).gather(1, both.indices)
            best = both.values
        return at.numpy()

    return search


def first_pass(rows: Vectors, stride: Literal[1, 2]) -> Search:
    """The search of a sweep: a first pass over every `stride`-th row selects groups, which are then scored in full."""
    table = torch.from_numpy(rows)
    groups = table.unflatten(0, (-1, GROUP))

    def search(queries: Vectors) -> npt.NDArray[np.int64]:
        wanted = torch.from_numpy(queries)
        exact_search = ExactSearch(wanted[None], TOP, FirstPassConfig(stride, probes=1))
        for start in range(0, len(table), 65_536):
            exact_search.add(table[start : start + 65_536], start)
        found = torch.from_numpy(exact_search.hits().row).view(len(queries), TOP) // GROUP
        chosen = groups.index_select(0, found.flatten()).view(len(queries), TOP * GROUP, -1)
        scores = torch.bmm(chosen, wanted[:, :, None])[..., 0]
        at = scores.topk(TOP, dim=1).indices
        return (found.gather(1, at // GROUP) * GROUP + at % GROUP).numpy()

    return search


def in_lancedb(folder: Path, rows: Vectors) -> Iterator[tuple[str, Callable[[], Search]]]:
    """(name, function that builds the index) for each of LanceDB's indexes, on one table."""
    import lancedb
    import pyarrow as pa
    from lancedb.index import HnswSq, IvfFlat, IvfPq

    column = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
    data = pa.table({"row": pa.array(np.arange(len(rows))), "vector": column})
    table = lancedb.connect(str(folder)).create_table("rows", data)
    settings = configs.load(WEIGHTS).search
    options: dict[str, Any] = {"distance_type": "dot", "num_partitions": max(1, len(rows) // ROWS_PER_PARTITION)}

    def built(config: Any) -> Search:
        table.create_index("vector", config=config, replace=True)

        def search(queries: Vectors) -> npt.NDArray[np.int64]:
            query = table.search(queries, vector_column_name="vector").distance_type("dot").nprobes(settings.nprobes)
            found = query.refine_factor(settings.refine_factor).limit(TOP).select(["row", "_distance"]).to_arrow()
            result = np.full((len(queries), TOP), -1)
            which = found["query_index"].to_numpy()
            place = np.arange(len(which)) - np.searchsorted(which, which)
            result[which, place] = found["row"].to_numpy()
            return result

        return search

    kinds = {"IVF_FLAT": IvfFlat, "IVF_PQ": IvfPq, "IVF_HNSW_SQ": HnswSq}
    for name, kind in kinds.items():
        yield f"LanceDB {name}, {settings.nprobes} probes", partial(built, kind(**options))


def in_faiss(rows: Vectors) -> Iterator[tuple[str, Callable[[], Search]]]:
    import faiss  # type: ignore[import-not-found,import-untyped,unused-ignore]

    partitions, dim = max(1, len(rows) // ROWS_PER_PARTITION), rows.shape[1]
    nprobe = configs.load(WEIGHTS).search.nprobes

    def built(index: Any) -> Search:
        index.train(rows)
        index.add(rows)
        return lambda queries: index.search(queries, TOP)[1]

    def pq() -> Search:
        index = faiss.IndexIVFPQ(faiss.IndexFlatIP(dim), dim, partitions, dim // 4, 8, faiss.METRIC_INNER_PRODUCT)
        index.nprobe = nprobe
        return built(index)

    def hnsw() -> Search:
        index = faiss.IndexHNSWFlat(dim, 32, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efSearch = 256
        return built(index)

    yield f"FAISS IVF-PQ, {nprobe} probes, no refining", pq
    yield "FAISS HNSW 32, ef 256", hnsw


def timed(search: Search, queries: Vectors) -> float:
    """Queries per second, if all are submitted at once."""
    return len(queries) * rate(lambda: search(queries))


def measure(rows: Vectors) -> Iterator[Speed]:
    queries = laid_over(rows)
    search = exact(rows)
    truth = search(queries)
    yield Speed(len(rows), "exact, float32", 0.0, timed(search, queries), 1.0)
    folder = Path(tempfile.mkdtemp(prefix="asid-search-"))
    ways: list[tuple[str, Callable[[], Search]]] = [
        ("exact, bfloat16", lambda: exact(rows, torch.bfloat16)),
        ("asid's, a first pass at every row", lambda: first_pass(rows, 1)),
        ("asid's, a first pass at every other row", lambda: first_pass(rows, 2)),
        *in_lancedb(folder, rows),
    ]
    if importlib.util.find_spec("faiss"):
        ways += in_faiss(rows)
    for way, build in ways:
        started = time.perf_counter()
        search = build()
        build_s = time.perf_counter() - started
        found = search(queries)
        shared = np.mean([len(set(a) & set(b)) / TOP for a, b in zip(truth.tolist(), found.tolist(), strict=True)])
        yield Speed(len(rows), way, build_s, timed(search, queries), float(shared))
    shutil.rmtree(folder)


def table(speeds: Sequence[Speed]) -> str:
    base = {s.rows: s.queries_per_second for s in speeds if s.way == "exact, float32"}
    lines = ["| rows | way | built in (s) | queries/s | times exact | recall@10 |", "|---|---|---|---|---|---|"]
    for s in speeds:
        times = s.queries_per_second / base[s.rows]
        lines.append(
            f"| {s.rows:,} | {s.way} | {s.build_s:.0f} | {s.queries_per_second:,.0f} | {times:.1f} | {s.recall:.3f} |"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--bench", metavar="DIR", type=Path, default=BENCH)
    parser.add_argument("--sizes", metavar="N", type=int, nargs="+", default=list(SIZES))
    args = parser.parse_args(argv)
    if not is_made(args.bench, MADE_BY):
        return 2
    rows = vectors_like(Catalogue(str(catalogue_in(args.bench))), max(args.sizes))
    speeds = [speed for size in args.sizes for speed in measure(rows[:size])]
    text = f"{QUERIES} queries at once, {rows.shape[1]} dimensions.\n\n{table(speeds)}"
    print(text)
    write_json("search", {"speeds": speeds})
    write_section("Search speed", COMMAND, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
