"""Measures the coarse search of a growing catalogue against itself, exact and by votes, with the default.

Tracks are surrogates of the distractors of a wild benchmark. One worker per core, all at once, searches
for some tracks, as in a sweep; the time of a whole sweep is extrapolated. Verification is left out, because its cost
per query does not grow.
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
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asid_core import config as configs
from asid_core.config import Config
from benchmarks.lib.among_distractors import WEIGHTS, catalogue_in
from benchmarks.lib.distractors import Surrogates
from benchmarks.lib.made import Made
from benchmarks.lib.meter import memory_gb
from benchmarks.lib.quality_bench import is_made
from benchmarks.lib.results import cores, write_json, write_section
from benchmarks.lib.synthetic import tracks_like
from benchmarks.lib.validation_bench import BENCH
from benchmarks.lib.validation_bench import COMMAND as MAKE_BENCH
from pipelines.search.exact import ExactReferences, Queries, References
from pipelines.search.sweep_plan import find_references
from pipelines.search.voted import VotedReferences, VoteTable, vote_table
from pipelines.store import fingerprints
from pipelines.store.catalogue import Catalogue

COMMAND = "make -C benchmarks sweep"
TRACKS, WINDOWS = (100, 1_000, 10_000), 400
STEP = 3  # every third window of a track is a query window: one every half second
# Query tracks of each worker, from the middle of the order: they are searched in half of the tracks, as on average. A
# real shard has more, but reading the references is a small part of the time.
QUERIES = 8


@dataclass(frozen=True)
class Swept:
    """The measurement of one method at one size. seconds: of all workers in parallel."""

    way: str
    tracks: int
    queries: int
    seconds: float
    memory_gb: float
    lists_s: float = 0.0  # to build the lists, on all cores

    @property
    def pairs_per_second(self) -> float:
        return self.queries * self.tracks / 2 / self.seconds

    @property
    def whole_h(self) -> float:
        return (self.tracks / self.queries * self.seconds + self.lists_s) / 3600


def searched(
    uri: str, references: References, config: Config, votes: Path | None, own: Sequence[int]
) -> tuple[float, float]:
    """(seconds, memory in GB) of one worker that searches for the tracks with numbers `own`."""
    torch.set_num_threads(1)
    catalogue = Catalogue(uri)
    place: ExactReferences | VotedReferences
    if votes is None:
        place = ExactReferences(catalogue, references, config)
    else:
        shared = {path.stem: np.load(path, mmap_mode="r") for path in votes.iterdir()}
        place = VotedReferences(VoteTable(**shared), references, config)
    queries = list(queries_of(catalogue, references, config, own))
    started = time.perf_counter()
    place.search(queries)
    return time.perf_counter() - started, memory_gb()


def queries_of(catalogue: Catalogue, references: References, config: Config, own: Sequence[int]) -> Iterator[Queries]:
    """Queries made of windows with noise, because the time hardly depends on what they find."""
    table: Any = catalogue.table(fingerprints.table_name(references.model_id))
    for number in own:
        rows = table.to_table(columns=["vector"], offset=number * WINDOWS, limit=WINDOWS)["vector"].combine_chunks()
        vectors: Tensor = torch.tensor(rows.flatten().to_numpy()).view(WINDOWS, -1)[::STEP]
        noise = torch.randn(len(config.probes.grid), *vectors.shape, generator=torch.Generator().manual_seed(number))
        probed = torch.nn.functional.normalize(vectors + noise / vectors.shape[1] ** 0.5, dim=2)
        yield Queries(probed.half(), np.arange(len(vectors)) * STEP * references.hop_s, number)


def measured(tracks: int, drawn: Surrogates, folder: Path) -> Iterator[Swept]:
    config = configs.load(WEIGHTS)
    made = Made(folder, tracks, config, WEIGHTS)
    made.write_tracks()
    made.write_fingerprints(drawn.numbered)
    _, references = find_references(made.catalogue, made.model)
    references = replace(references, order=np.arange(tracks, dtype=np.int32))
    uri, votes = made.catalogue.location.uri, folder / "votes"
    yield swept("exact", tracks, partial(searched, uri, references, config, None))
    started = time.perf_counter()
    table = vote_table(uri, references, config)
    lists_s = time.perf_counter() - started
    votes.mkdir()
    for name, values in vars(table).items():  # processes share files in memory, as they share Ray's object store
        np.save(votes / f"{name}.npy", values)
    del table
    yield replace(swept("votes", tracks, partial(searched, uri, references, config, votes)), lists_s=lists_s)


def swept(way: str, tracks: int, work: Any) -> Swept:
    first = tracks // 2 - QUERIES * cores() // 2
    shards = [range(first + QUERIES * i, first + QUERIES * (i + 1)) for i in range(cores())]
    with ProcessPoolExecutor(len(shards), multiprocessing.get_context("spawn")) as pool:
        costs = list(pool.map(work, shards))
    memory = sum(memory for _, memory in costs)
    return Swept(way, tracks, len(shards) * QUERIES, max(seconds for seconds, _ in costs), memory)


def report(sweeps: Sequence[Swept]) -> Iterator[str]:
    yield "| search | tracks | track pairs/s | lists built (s) | whole sweep (h) | memory of the workers (GB) |"
    yield "|---" * 6 + "|"
    for one in sweeps:
        yield (
            f"| {one.way} | {one.tracks:,} | {one.pairs_per_second:,.0f} | {one.lists_s:.0f} | {one.whole_h:,.3f} "
            f"| {one.memory_gb:.1f} |"
        )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--bench", metavar="DIR", type=Path, default=BENCH)
    parser.add_argument("--tracks", metavar="N", type=int, nargs="+", default=list(TRACKS))
    args = parser.parse_args(argv)
    if not is_made(args.bench, MAKE_BENCH):
        return 2
    drawn = tracks_like(Catalogue(str(catalogue_in(args.bench))), WEIGHTS, WINDOWS)
    sweeps: list[Swept] = []
    for tracks in args.tracks:
        folder = Path(tempfile.mkdtemp(prefix="asid-sweep-"))
        try:
            for one in measured(tracks, drawn, folder):
                print(one, flush=True)
                sweeps.append(one)
        finally:
            shutil.rmtree(folder)
    probes = len(configs.load(WEIGHTS).probes.grid)
    about = (
        f"Tracks of {WINDOWS} windows (64 s), a query window every half second, {probes} probes, each pair once; "
        f"{cores()} workers at once. Coarse search alone."
    )
    text = "\n".join([about, "", *report(sweeps)])
    print(text)
    write_json("sweep", {"sweeps": sweeps})
    write_section("Sweep of a growing catalogue", COMMAND, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
