"""Measures the bookkeeping of index, sweep and reindex on a synthetic catalogue of 100,000 tracks without audio.

Every track has a file of one byte in a corpus, a row, windows of random vectors that resemble music, and 20 detections.
Decoding, encoding and matching are left out. Measures the time of each step, and the peak memory of the driver alone
(what no other process shares) and of all of Ray's processes together (PSS, which counts shared pages once).

--before adds the figures of an older asid: a JSON file with [seconds, driver's GB] for each step by name, and "asid",
which says what it was.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from asid_core.config import load
from asid_core.plain_values import to_dict
from asid_core.schema import DETECTIONS
from benchmarks.lib.made import Made
from benchmarks.lib.meter import Meter
from benchmarks.lib.results import write_section
from pipelines.reindex import reindex
from pipelines.runtime import start_ray
from pipelines.search.approximate import nearest, open_table
from pipelines.search.index import index
from pipelines.search.sweep import sweep
from pipelines.search.sweep_plan import plan_sweep
from pipelines.store import detections
from pipelines.store.catalogue import Catalogue
from pipelines.store.status import status

WEIGHTS = "linear"
TRACKS = 100_000
WINDOWS = 24  # per track; a real track of 4 minutes has 1500, which would be 154 GB in all
DETECTIONS_PER_TRACK = 20  # as search.verify_tracks
REMOVED_SHARE = 0.01
QUERIES = 256


class Swept(Made):
    """A synthetic catalogue with a finished sweep, from which tracks can be removed."""

    def write_sweep(self) -> str:
        """Write a finished sweep, with parts as its tasks would have written them."""
        plan = plan_sweep(self.catalogue, self.config, self.model, None, None, False)
        edges = plan.shards(self.config)
        queries = plan.queries["track_id"].combine_chunks()
        for number, (start, stop) in enumerate(itertools.pairwise(edges.tolist())):
            with detections.part(self.catalogue, plan.sweep_id, number).writing() as stream:
                pq.write_table(self._found(queries.slice(start, stop - start), plan.sweep_id), stream)
        with self.catalogue.writing("benchmark"):
            detections.write_tracks(self.catalogue, plan.sweep_id, plan.known)
            head: dict[str, Any] = {"sweep_id": plan.sweep_id, "model_id": self.model_id, "settings": plan.settings}
            head |= {"config": to_dict(self.config), "detections": len(queries) * DETECTIONS_PER_TRACK}
            head |= {"reported": {"sample": len(queries)}}  # the best of each query
            detections.finish(self.catalogue, head)
        return f"{len(edges) - 1:,} parts"

    def _found(self, queries: pa.Array, sweep_id: str) -> pa.Table:
        """Rows of detections, mostly chance matches, as in a real sweep, which stores every verified pair."""
        rank = np.tile(np.arange(1, DETECTIONS_PER_TRACK + 1), len(queries))
        at = np.random.default_rng(len(queries)).integers(0, len(self.names), len(rank))
        values: dict[str, Any] = {"query_start_s": 1.0, "query_end_s": 9.0, "reference_start_s": 2.0}
        values |= {"reference_end_s": 10.0, "coarse_score": 2.0, "verify_score": 0.1, "tempo_ratio": 1.0}
        values |= {"num_windows": 5, "kind": "sample", "sweep_id": sweep_id, "model_id": self.model_id}
        columns = {name: pa.repeat(value, len(rank)) for name, value in values.items()}
        columns |= {"query_id": queries.take(np.arange(len(queries)).repeat(DETECTIONS_PER_TRACK)), "rank": rank}
        columns |= {"reference_id": [self.names[n] for n in at], "score": np.where(rank == 1, 0.9, 0.01)}
        empty = (pa.nulls(len(rank), field.type) for field in DETECTIONS)
        return pa.table(
            [columns.get(name, none) for name, none in zip(DETECTIONS.names, empty, strict=True)],
            names=DETECTIONS.names,
        ).cast(DETECTIONS)

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


def walks(dim: int, windows: int, start: int, tracks: int) -> npt.NDArray[np.float32]:
    """Random walks on the unit sphere [tracks, windows, dim], which resemble overlapping windows."""
    rng = np.random.default_rng(start)
    steps = 0.2 * rng.standard_normal((tracks, windows, dim), np.float32).cumsum(1)
    vectors = rng.standard_normal((tracks, 1, dim), np.float32) + steps
    return (vectors / np.linalg.norm(vectors, axis=2, keepdims=True)).astype(np.float32)


def run(folder: Path, tracks: int, windows: int) -> Meter:
    """Run and measure all steps in order."""
    # so that the index is built, with windows as they are by default
    config, meter = load(WEIGHTS, ["search.exact_below_rows=1000000"] if windows == WINDOWS else []), Meter()
    made = Swept(folder, tracks, config, WEIGHTS)
    meter.measure("make tracks and their files", made.write_tracks)
    meter.measure("make fingerprints", lambda: made.write_fingerprints(partial(walks, made.model.dim, windows)))
    start_ray("local")
    meter.measure("make a sweep", made.write_sweep)
    meter.measure("index", lambda: index(made.catalogue, config))
    meter.measure("status", lambda: f"{status(made.catalogue).tracks:,} tracks")

    def reindexed() -> Any:
        return reindex(str(made.corpus), made.catalogue, config, WEIGHTS)

    meter.measure("reindex, nothing new", reindexed)
    made.remove()
    meter.measure(f"reindex, {REMOVED_SHARE:.0%} removed, with an incremental sweep", reindexed)
    meter.measure("reindex, nothing new since", reindexed)
    meter.measure("sweep, done before", lambda: sweep(made.catalogue, config, WEIGHTS))
    if windows == WINDOWS:  # last, because this process then holds the index
        meter.measure("search the index", lambda: made.search(None))
        meter.measure("search the index, own track left out", lambda: made.search(made.names[1]))
    return meter


def again(folder: Path) -> Meter:
    """Measure status and a re-index with nothing new of a catalogue that `run` has left in `folder`."""
    config, meter = load(WEIGHTS), Meter()
    catalogue = Catalogue(str(folder / "catalogue"))
    start_ray("local")
    meter.measure("status", lambda: f"{status(catalogue).tracks:,} tracks")
    meter.measure("reindex, nothing new", lambda: reindex(str(folder / "corpus"), catalogue, config, WEIGHTS))
    return meter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tracks", type=int, default=TRACKS)
    parser.add_argument("--folder", type=Path, help="parent of the temporary folder")
    parser.add_argument("--windows", type=int, default=WINDOWS, help="of each track; with fewer, no index is built")
    parser.add_argument("--keep", action="store_true", help="keep the catalogue, for --made")
    parser.add_argument("--made", type=Path, help="a catalogue that --keep left: measure what is most frequent alone")
    parser.add_argument("--before", type=Path, help="figures of an older asid, as JSON")
    args = parser.parse_args()
    folder = args.made or Path(tempfile.mkdtemp(prefix="asid-bookkeeping-", dir=args.folder))
    try:
        meter = again(folder) if args.made else run(folder, args.tracks, args.windows)
    finally:
        if not args.made and not args.keep:
            shutil.rmtree(folder)
    before: dict[str, Any] = json.loads(args.before.read_text()) if args.before else {}
    lines = ["| step | seconds | driver's peak memory (GB) | of all processes (GB) | |", "|---|---|---|---|---|"]
    for step in meter.steps:
        was = before.get(step.name, ())
        seconds, driver = (f" (before: {value:,.2f})" for value in was) if was else ("", "")
        figures = f"{step.seconds:,.1f}{seconds} | {step.driver_gb:.2f}{driver} | {step.all_gb:.2f}"
        lines.append(f"| {step.name} | {figures} | {step.said} |")
    about = f"{args.tracks:,} tracks, {args.tracks * args.windows:,} fingerprints, "
    about += f"{args.tracks * DETECTIONS_PER_TRACK:,} detections."
    about += f" Before: {before['asid']}." if before else ""
    about += f" Load average of the machine at the end: {os.getloadavg()[0]:.0f}, this benchmark's own share included."
    command = "make -C benchmarks bookkeeping"
    command += f" TRACKS={args.tracks} WINDOWS={args.windows}" if args.tracks != TRACKS else ""
    name = "Bookkeeping of a large catalogue" + (f", {args.tracks:,} tracks" if args.tracks != TRACKS else "")
    write_section(name, command, "\n".join([about, "", *lines]))


if __name__ == "__main__":
    main()
