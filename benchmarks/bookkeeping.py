"""Measures the bookkeeping of index, sweep and reindex on a synthetic catalogue of 100,000 tracks without audio.

Every track has a file of one byte in a corpus, a row, 24 windows of random vectors that resemble music, and 20
detections. Decoding, encoding and matching are left out. Measures the time of each step, and the peak memory of the
driver and all of Ray's processes together (PSS, which counts shared pages once).
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from asid_core.config import load
from asid_core.schema import DETECTIONS
from benchmarks.lib.made import Made
from benchmarks.lib.meter import Meter
from benchmarks.lib.results import write_section
from pipelines.reindex import reindex
from pipelines.runtime import start_ray
from pipelines.search.approximate import nearest, open_table
from pipelines.search.index import index
from pipelines.search.sweep import _plan, sweep  # _plan is private, but needed to write the parts of a sweep
from pipelines.store import detections
from pipelines.store.status import status

WEIGHTS = "linear"
WINDOWS = 24  # per track; a real track of 4 minutes has 1500, which would be 154 GB in all
DETECTIONS_PER_TRACK = 20  # as search.verify_tracks
REMOVED_SHARE = 0.01
QUERIES = 256


class Swept(Made):
    """A synthetic catalogue with a finished sweep, from which tracks can be removed."""

    def write_sweep(self) -> str:
        """Write a finished sweep, with parts as its tasks would have written them."""
        plan = _plan(self.catalogue, self.config, self.model, None, None, False)
        shards = plan.shards(self.config)
        for number, shard in enumerate(shards):
            with detections.part(self.catalogue, plan.sweep_id, number).writing() as stream:
                pq.write_table(pa.Table.from_pylist(list(self._found(shard, plan.sweep_id)), schema=DETECTIONS), stream)
        of_queries = [[row["track_id"] for row in shard] for shard in shards]
        with self.catalogue.writing("benchmark"):
            detections.write_tracks(self.catalogue, plan.sweep_id, plan.known, of_queries)
            head = {"sweep_id": plan.sweep_id, "model_id": self.model_id, "settings": plan.settings}
            detections.finish(self.catalogue, head)
        return f"{len(shards):,} parts"

    def _found(self, shard: list[dict[str, Any]], sweep_id: str) -> Iterator[dict[str, Any]]:
        """Rows of detections, mostly chance matches, as in a real sweep, which stores every verified pair."""
        rng = np.random.default_rng(len(shard))
        spans = {"query_start_s": 1.0, "query_end_s": 9.0, "reference_start_s": 2.0, "reference_end_s": 10.0}
        rest = {"coarse_score": 2.0, "verify_score": 0.1, "tempo_ratio": 1.0, "num_windows": 5, "kind": "sample"}
        for row in shard:
            for rank, at in enumerate(rng.integers(0, len(self.names), DETECTIONS_PER_TRACK), start=1):
                ids = {"query_id": row["track_id"], "reference_id": self.names[at], "rank": rank}
                about = {"score": 0.9 if rank == 1 else 0.01, "sweep_id": sweep_id, "model_id": self.model_id}
                yield ids | spans | rest | about

    def remove(self) -> str:
        gone = self.names[:: round(1 / REMOVED_SHARE)]
        for name in gone:
            (self.corpus / name).unlink()
        return f"{len(gone):,} files"

    def search(self, but_track: str | None) -> str:
        """Time queries to the index: of a sweep, which leave out their own track, or of a new file (None)."""
        table = open_table(self.catalogue, self.model_id)
        vectors = np.random.default_rng(1).standard_normal((QUERIES, self.model.dim)).astype(np.float32)
        started = time.monotonic()
        nearest(table, vectors, 4 * self.config.search.hits_per_window, self.config.search, but_track)
        return f"{QUERIES / (time.monotonic() - started):,.0f} queries/s"


def walks(dim: int, start: int, tracks: int) -> npt.NDArray[np.float32]:
    """Random walks on the unit sphere [tracks, WINDOWS, dim], which resemble overlapping windows."""
    rng = np.random.default_rng(start)
    steps = 0.2 * rng.standard_normal((tracks, WINDOWS, dim), np.float32).cumsum(1)
    vectors = rng.standard_normal((tracks, 1, dim), np.float32) + steps
    return (vectors / np.linalg.norm(vectors, axis=2, keepdims=True)).astype(np.float32)


def run(folder: Path, tracks: int) -> Meter:
    """Run and measure all steps in order."""
    config, meter = load(WEIGHTS, ["search.exact_below_rows=1000000"]), Meter()  # so that the index is built
    made = Swept(folder, tracks, config, WEIGHTS)
    meter.measure("make tracks and their files", made.write_tracks)
    meter.measure("make fingerprints", lambda: made.write_fingerprints(partial(walks, made.model.dim)))
    meter.measure("make a sweep", made.write_sweep)
    start_ray("local")
    meter.measure("index", lambda: index(made.catalogue, config))
    meter.measure("search the index", lambda: made.search(None))
    meter.measure("search the index, own track left out", lambda: made.search(made.names[0]))
    meter.measure("status", lambda: f"{status(made.catalogue).tracks:,} tracks")

    def again() -> Any:
        return reindex(str(made.corpus), made.catalogue, config, WEIGHTS)

    meter.measure("reindex, nothing new", again)
    made.remove()
    meter.measure(f"reindex, {REMOVED_SHARE:.0%} removed, with an incremental sweep", again)
    meter.measure("reindex, nothing new since", again)
    meter.measure("sweep, done before", lambda: sweep(made.catalogue, config, WEIGHTS))
    return meter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tracks", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="parent of the temporary folder")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="asid-bookkeeping-", dir=args.folder))
    try:
        meter = run(folder, args.tracks)
    finally:
        shutil.rmtree(folder)
    lines = ["| step | seconds | peak memory, all processes (GB) | |", "|---|---|---|---|"]
    lines += [f"| {name} | {seconds:,.1f} | {peak:.2f} | {said} |" for name, seconds, peak, said in meter.steps]
    about = f"{args.tracks:,} tracks, {args.tracks * WINDOWS:,} fingerprints, "
    about += f"{args.tracks * DETECTIONS_PER_TRACK:,} detections."
    about += f" Load average of the machine at the end: {os.getloadavg()[0]:.0f}, this benchmark's own share included."
    write_section("Bookkeeping of a large catalogue", "make -C benchmarks bookkeeping", "\n".join([about, "", *lines]))


if __name__ == "__main__":
    main()
