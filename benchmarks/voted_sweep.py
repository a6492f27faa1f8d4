"""A whole sweep of the wild validation benchmark by votes, and an exact one, among many synthetic tracks.

The synthetic tracks have fingerprints that resemble real ones, and silent audio. So they take places of true tracks
among the candidates, as real ones would, but none of them is ever reported.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from asid_core import config as configs
from asid_core import schema
from asid_core.config import SAMPLE_RATE_HZ
from asid_core.evaluation.evaluate import evaluate
from asid_core.evaluation.report import TITLES, Report, paired_table
from asid_core.evaluation.truth import read_truth
from asid_core.signal.pcm import cut
from benchmarks.lib.among_distractors import WEIGHTS, catalogue_in
from benchmarks.lib.made import TRACKS_PER_PART, Made
from benchmarks.lib.quality_bench import is_made
from benchmarks.lib.results import cores, write_section
from benchmarks.lib.synthetic import ROWS_PER_TRACK, tracks_like
from benchmarks.lib.validation_bench import BENCH
from benchmarks.lib.validation_bench import COMMAND as MADE_BY
from pipelines.evaluate import QUERIES, REFERENCES
from pipelines.runtime import start_ray
from pipelines.search.sweep import SweepSummary, sweep
from pipelines.search.sweep_plan import find_references
from pipelines.store.catalogue import Catalogue
from pipelines.store.fingerprints import load_model
from pipelines.store.segments import segment_row

COMMAND = "make -C benchmarks voted_sweep"
TRACKS = 2500  # 3.75 million rows
WAYS = {"exact": "search.votes_from_rows=20000000", "by votes": "search.exact_below_rows=1"}
FIGURES = ("map", "hit_at_1", "hit_at_10", "auroc", "recall", "precision")


class Silent(Made):
    """Synthetic tracks with silent audio."""

    def write_audio(self) -> None:
        folder = Path(self.catalogue.location.uri) / "segments" / "made"
        folder.mkdir(parents=True)
        geometry = self.catalogue.geometry
        segments = list(cut([self._silence], geometry.core_samples, geometry.margin_samples))
        for start in range(0, len(self.names), TRACKS_PER_PART):
            names = self.names[start : start + TRACKS_PER_PART]
            with pq.ParquetWriter(folder / _part(start), schema.SEGMENTS, compression="zstd") as writer:
                for name in names:
                    rows = [segment_row(name, segment) for segment in segments]
                    writer.write_table(pa.Table.from_pylist(rows, schema=schema.SEGMENTS), row_group_size=1)

    @property
    def _silence(self) -> npt.NDArray[np.int16]:
        seconds = (ROWS_PER_TRACK - 1) * self.model.hop_s + self.model.window_s
        return np.zeros(round(seconds * SAMPLE_RATE_HZ), np.int16)

    def _track(self, number: int, name: str) -> dict[str, Any]:
        samples = len(self._silence)
        row = super()._track(number, name) | {"duration_s": samples / SAMPLE_RATE_HZ}
        row |= {"num_segments": -(-samples // self.catalogue.geometry.core_samples)}
        return row | {"segment_files": [f"segments/made/{_part(number)}"]}


def _part(track: int) -> str:
    return f"part-{track // TRACKS_PER_PART:06d}.parquet"


@dataclass(frozen=True)
class Swept:
    """A sweep, and how good it is."""

    summary: SweepSummary
    report: Report


def with_silent(bench: Path, folder: Path, tracks: int) -> Catalogue:
    """A copy of the benchmark's catalogue in `folder`, with so many synthetic tracks among its references."""
    shutil.copytree(catalogue_in(bench), folder / "catalogue", ignore=shutil.ignore_patterns("detections"))
    drawn = tracks_like(Catalogue(str(catalogue_in(bench))), WEIGHTS, ROWS_PER_TRACK)
    made = Silent(folder, tracks, configs.load(WEIGHTS), WEIGHTS, prefix="references/silent_")
    made.write_audio()
    made.write_tracks()
    made.write_fingerprints(drawn.numbered)
    return made.catalogue


def swept(bench: Path, catalogue: Catalogue, setting: str) -> Swept:
    """A sweep of the benchmark's queries over all references."""
    config, truth = configs.load(WEIGHTS, [setting]), read_truth(bench / "truth.json")
    summary = sweep(catalogue, config, WEIGHTS, QUERIES, REFERENCES, min_score=0.0)
    references = [f"references/{name}" for name in truth.references]
    return Swept(summary, evaluate(summary.detections, truth, "strict", config.score.threshold, references))


def report(sweeps: dict[str, Swept], rows: int) -> Iterator[str]:
    """The lines of the section for RESULTS.md. rows: of all references."""
    one = sweeps["exact"]
    yield (
        f"{one.report.num_queries} queries among {one.summary.references:,} references with {rows:,} rows. The "
        "synthetic ones have silent audio: they can take a true track's place, but are not reported. All stages; "
        f"samples that are played backwards count as not found. Seconds of {cores()} cores, the lists included."
    )
    yield ""
    yield f"| sweep | {' | '.join(TITLES[name] for name in FIGURES)} | seconds |"
    yield "|---" * (2 + len(FIGURES)) + "|"
    for name, some in sweeps.items():
        figures = (str(some.report.figures[figure]) for figure in FIGURES)
        yield f"| {name} | {' | '.join(figures)} | {some.summary.seconds:.0f} |"
    yield ""
    yield paired_table(sweeps["by votes"].report, one.report, ("by votes", "exact"))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--bench", metavar="DIR", type=Path, default=BENCH)
    parser.add_argument("--tracks", metavar="N", type=int, default=TRACKS, help="synthetic tracks")
    args = parser.parse_args(argv)
    if not is_made(args.bench, MADE_BY):
        return 2
    folder = Path(tempfile.mkdtemp(prefix="asid-voted-"))
    try:
        catalogue = with_silent(args.bench, folder, args.tracks)
        start_ray(None)
        sweeps = {name: swept(args.bench, catalogue, setting) for name, setting in WAYS.items()}
        _, references = find_references(catalogue, load_model(WEIGHTS, configs.load(WEIGHTS)), REFERENCES)
        text = "\n".join(report(sweeps, references.num_rows))
    finally:
        shutil.rmtree(folder)
    print(text)
    write_section("Sweep by votes", COMMAND, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
