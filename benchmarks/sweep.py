"""Coarse search of a catalogue against itself as it grows: exact, with probes and without, and by LanceDB's index.

Tracks are surrogates of the fingerprints of `make candidates`' distractors. Each worker, one a core, all at once,
searches for a shard of tracks that are neighbours, as in a sweep; the whole takes as many times that as shards.
Verification, whose cost a query does not grow, is not in here.
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
from pipelines.search.sweep import SHARDS, find_references
from pipelines.store import fingerprints
from pipelines.store.catalogue import Catalogue

COMMAND = "make -C benchmarks sweep"
TRACKS, WINDOWS = (100, 1_000, 10_000), 400


@dataclass(frozen=True)
class Way:
    """How query tracks are searched for."""

    name: str
    probes: int
    step: int  # every so many windows of the query
    queries: int  # tracks that a worker searches for at most
    indexed: bool = False

    @property
    def windows(self) -> int:
        return -(-WINDOWS // self.step)


A_SECOND = 6  # windows
WAYS = (
    Way("exact, no probes", 1, 1, 128),
    Way("exact, no probes, a window a second", 1, A_SECOND, 128),
    # a shard would be 51: reading the references, once for a shard, is a hundredth of it
    Way("exact, 81 probes, a window a second", 81, A_SECOND, 16),
    Way("index, no probes, a window a second", 1, A_SECOND, 16, indexed=True),
)


@dataclass(frozen=True)
class Swept:
    """One way at one size; seconds of all workers at once."""

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
    """Vectors [count, WINDOWS, dim] of tracks from number `start` on."""
    drawn = tracks.draw(count, torch.Generator().manual_seed(start))
    return drawn.view(count, WINDOWS, -1).numpy()


def searched(uri: str, references: References, config: Config, way: Way, own: Sequence[int]) -> tuple[float, float]:
    """(seconds, memory in GB) of one worker that searches for the tracks numbered `own`."""
    torch.set_num_threads(1)
    catalogue = Catalogue(uri)
    kind = IndexedReferences if way.indexed else ExactReferences
    place = kind(catalogue, references, config)
    queries = list(queries_of(catalogue, references, way, own))
    started = time.perf_counter()
    place.search(queries)
    return time.perf_counter() - started, memory_gb()


def queries_of(catalogue: Catalogue, references: References, way: Way, own: Sequence[int]) -> Iterator[Queries]:
    """Windows with noise added, another for each probe: what they find does not matter to how long it takes."""
    table: Any = catalogue.table(fingerprints.table_name(references.model_id))
    for number in own:
        rows = table.to_table(columns=["vector"], offset=number * WINDOWS, limit=WINDOWS)["vector"].combine_chunks()
        vectors: Tensor = torch.tensor(rows.flatten().to_numpy()).view(WINDOWS, -1)[:: way.step]
        noise = torch.randn(way.probes, *vectors.shape, generator=torch.Generator().manual_seed(number))
        found = torch.nn.functional.normalize(vectors + noise / vectors.shape[1] ** 0.5, dim=2)
        yield Queries(found, number)


def measure(catalogue: Catalogue, way: Way, config: Config) -> Swept:
    _, references = find_references(catalogue, fingerprints.load_model(WEIGHTS, configs.load(WEIGHTS)))
    tracks = references.tracks.num_rows
    workers = cores()
    queries = min(way.queries, -(-tracks // SHARDS))
    shards = [range(first, first + queries) for first in (i * tracks // workers for i in range(workers))]
    work = partial(searched, catalogue.location.uri, references, config, way)
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        found = list(pool.map(work, shards))
    return Swept(way, tracks, workers * queries, max(s for s, _ in found), sum(memory for _, memory in found))


def measured(tracks: int, drawn: Surrogates, folder: Path) -> Iterator[Swept]:
    config = configs.load(WEIGHTS)
    made = Made(folder, tracks, config, WEIGHTS)
    made.write_tracks()
    made.write_fingerprints(partial(surrogates, drawn))
    for way in WAYS:
        if way.indexed:
            index(made.catalogue, configs.load(WEIGHTS, ["search.exact_below_rows=1"]))
        found = measure(made.catalogue, way, config)
        print(found, flush=True)
        yield found


def table(found: Sequence[Swept]) -> str:
    lines = [
        "| search | tracks | vectors a query track | track pairs/s | whole sweep (h) | memory of the workers (GB) |",
        "|---|---|---|---|---|---|",
    ]
    for one in found:
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
    found: list[Swept] = []
    for tracks in args.tracks:
        folder = Path(tempfile.mkdtemp(prefix="asid-sweep-"))
        try:
            found += measured(tracks, drawn, folder)
        finally:
            shutil.rmtree(folder)
    text = f"Tracks of {WINDOWS} windows (64 s), {cores()} workers at once.\n\n{table(found)}"
    print(text)
    write_json("sweep", {"sweeps": found})
    write_section("Sweep of a growing catalogue", COMMAND, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
