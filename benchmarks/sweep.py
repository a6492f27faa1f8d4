"""Measures the coarse search of a growing catalogue against itself: exact, with and without probes, and by index.

Tracks are surrogates of the distractors of `make candidates`. One worker per core, all at once, searches for one shard
of neighbouring tracks, as in a sweep; the time of a whole sweep is extrapolated. Verification is left out, because its
cost per query does not grow.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from asid_core import config as configs
from asid_core.config import Config
from benchmarks.lib.among_distractors import WEIGHTS, catalogue_of
from benchmarks.lib.distractors import Surrogates
from benchmarks.lib.made import Made
from benchmarks.lib.meter import memory_gb
from benchmarks.lib.quality_bench import BENCH
from benchmarks.lib.results import cores, write_json, write_section
from benchmarks.lib.synthetic import tracks_like
from pipelines.search.approximate import IndexedReferences
from pipelines.search.exact import ExactReferences, Queries, References
from pipelines.search.index import index
from pipelines.search.sweep_plan import SHARDS, find_references
from pipelines.store import fingerprints
from pipelines.store.catalogue import Catalogue

COMMAND = "make -C benchmarks sweep"
TRACKS, WINDOWS = (100, 1_000, 10_000), 400


@dataclass(frozen=True)
class Way:
    """A search method."""

    name: str
    probes: int
    step: int  # use every step-th window of the query
    queries: int  # largest number of query tracks per worker
    indexed: bool = False

    @property
    def windows(self) -> int:
        return -(-WINDOWS // self.step)


WINDOWS_PER_SECOND = 6
WAYS = (
    Way("exact, no probes", 1, 1, 128),
    Way("exact, no probes, one window per second", 1, WINDOWS_PER_SECOND, 128),
    # a real shard has 51 tracks; fewer suffice, because reading the references is a hundredth of the time
    Way("exact, 81 probes, one window per second", 81, WINDOWS_PER_SECOND, 16),
    Way("index, no probes, one window per second", 1, WINDOWS_PER_SECOND, 16, indexed=True),
)


@dataclass(frozen=True)
class Swept:
    """The measurement of one method at one size. seconds: of all workers in parallel."""

    way: Way
    tracks: int
    queries: int
    seconds: float
    memory_gb: float

    @property
    def pairs_per_second(self) -> float:
        return self.queries * self.tracks / self.seconds

    @property
    def whole_h(self) -> float:
        return self.tracks / self.queries * self.seconds / 3600


def surrogates(tracks: Surrogates, start: int, count: int) -> npt.NDArray[np.float32]:
    """Synthetic vectors [count, WINDOWS, dim] of the tracks from number `start` on."""
    drawn = tracks.draw(count, torch.Generator().manual_seed(start))
    return drawn.view(count, WINDOWS, -1).numpy()


def searched(uri: str, references: References, config: Config, way: Way, own: Sequence[int]) -> tuple[float, float]:
    """(seconds, memory in GB) of one worker that searches for the tracks with numbers `own`."""
    torch.set_num_threads(1)
    catalogue = Catalogue(uri)
    kind = IndexedReferences if way.indexed else ExactReferences
    place = kind(catalogue, references, config)
    queries = list(queries_of(catalogue, references, way, own))
    started = time.perf_counter()
    place.search(queries)
    return time.perf_counter() - started, memory_gb()


def queries_of(catalogue: Catalogue, references: References, way: Way, own: Sequence[int]) -> Iterator[Queries]:
    """Queries made of windows with noise, because the time does not depend on what they find."""
    table: Any = catalogue.table(fingerprints.table_name(references.model_id))
    for number in own:
        rows = table.to_table(columns=["vector"], offset=number * WINDOWS, limit=WINDOWS)["vector"].combine_chunks()
        vectors: Tensor = torch.tensor(rows.flatten().to_numpy()).view(WINDOWS, -1)[:: way.step]
        noise = torch.randn(way.probes, *vectors.shape, generator=torch.Generator().manual_seed(number))
        probed = torch.nn.functional.normalize(vectors + noise / vectors.shape[1] ** 0.5, dim=2)
        yield Queries(probed, number)


def measure(catalogue: Catalogue, way: Way, config: Config) -> Swept:
    _, references = find_references(catalogue, fingerprints.load_model(WEIGHTS, configs.load(WEIGHTS)))
    tracks = references.tracks.num_rows
    workers = cores()
    queries = min(way.queries, -(-tracks // SHARDS))
    shards = [range(first, first + queries) for first in (i * tracks // workers for i in range(workers))]
    work = partial(searched, catalogue.location.uri, references, config, way)
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        costs = list(pool.map(work, shards))
    return Swept(way, tracks, workers * queries, max(s for s, _ in costs), sum(memory for _, memory in costs))


def measured(tracks: int, drawn: Surrogates, folder: Path) -> Iterator[Swept]:
    config = configs.load(WEIGHTS)
    made = Made(folder, tracks, config, WEIGHTS)
    made.write_tracks()
    made.write_fingerprints(partial(surrogates, drawn))
    for way in WAYS:
        if way.indexed:
            index(made.catalogue, configs.load(WEIGHTS, ["search.exact_below_rows=1"]))
        swept = measure(made.catalogue, way, config)
        print(swept, flush=True)
        yield swept


def table(sweeps: Sequence[Swept]) -> str:
    lines = [
        "| search | tracks | vectors per query track | track pairs/s | whole sweep (h) | memory of the workers (GB) |",
        "|---|---|---|---|---|---|",
    ]
    for one in sweeps:
        vectors = one.way.windows * one.way.probes
        lines.append(
            f"| {one.way.name} | {one.tracks:,} | {vectors:,} | {one.pairs_per_second:,.0f} | {one.whole_h:,.3f} "
            f"| {one.memory_gb:.1f} |"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--bench", metavar="DIR", type=Path, default=BENCH)
    parser.add_argument("--tracks", metavar="N", type=int, nargs="+", default=list(TRACKS))
    args = parser.parse_args(argv)
    distractors = catalogue_of(args.bench)
    if distractors is None:
        return 2
    drawn = tracks_like(distractors, WEIGHTS, WINDOWS)
    sweeps: list[Swept] = []
    for tracks in args.tracks:
        folder = Path(tempfile.mkdtemp(prefix="asid-sweep-"))
        try:
            sweeps += measured(tracks, drawn, folder)
        finally:
            shutil.rmtree(folder)
    text = f"Tracks of {WINDOWS} windows (64 s), {cores()} workers at once.\n\n{table(sweeps)}"
    print(text)
    write_json("sweep", {"sweeps": sweeps})
    write_section("Sweep of a growing catalogue", COMMAND, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
