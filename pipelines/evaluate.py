"""Sweeps a benchmark or an annotated data set, and scores the result."""

from __future__ import annotations

import fnmatch
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from asid_core.config import Config
from asid_core.evaluation.evaluate import evaluate
from asid_core.evaluation.fitting import EVIDENCE, Fit, decides, fit_reviewed
from asid_core.evaluation.metrics import Protocol
from asid_core.evaluation.occurrences import Rates, rates
from asid_core.evaluation.report import Report, plain
from asid_core.evaluation.sample100 import QUERY_LENGTHS_S, Annotations, Clip, read_annotations, read_authors_clips
from asid_core.evaluation.truth import Truth, read_truth, track_name
from pipelines.report.findings import newest_findings, with_verdicts
from pipelines.run import run
from pipelines.runtime import ProgressCallback
from pipelines.search.clips import identify_clips
from pipelines.search.sweep import SweepOptions, SweepSummary, sweep
from pipelines.search.sweep_plan import find_references
from pipelines.store import verdicts
from pipelines.store.catalogue import Catalogue
from pipelines.store.fingerprints import load_model

log = logging.getLogger(__name__)

QUERIES, REFERENCES = "queries/*", "references/*"  # globs of the tracks in a benchmark's folder
# stage -> column of its score; all are computed from the rows of one sweep
STAGES = {"coarse": "coarse_score", "rerank": "rerank_score", "verify": "verify_score", "all": "score"}
AUTHORS_LIST = "authors/sample100_query_index.json"  # relative to the folder of Sample100-ext
VERSIONS = ("asid", "torch", "ray", "pylance", "lancedb")


@dataclass(frozen=True)
class Evaluated:
    """The evaluation of a sweep. `missing`: annotated tracks that the catalogue lacks; they count as not found."""

    sweep: SweepSummary
    reports: dict[str, Report]
    missing: tuple[str, ...] = ()
    annotated: int = 0  # number of annotated tracks
    occurrences: tuple[Rates, ...] = ()  # hit rates of clips cut from annotated occurrences

    def to_json(self, **about: Any) -> bytes:
        """All figures as JSON, with library versions; `about` adds fields that say what was evaluated."""
        values = {
            **about,
            "sweep_id": self.sweep.sweep_id,
            "model_id": self.sweep.model_id,
            "seconds": self.sweep.seconds,
            "versions": {name: metadata.version(name) for name in VERSIONS},
            "missing": self.missing,
            "annotated": self.annotated,
            "reports": {name: report.to_dict() for name, report in self.reports.items()},
            "occurrences": [plain(asdict(rates)) for rates in self.occurrences],
        }
        return json.dumps(values, indent=1).encode()


def sweep_bench(
    directory: Path, catalogue: Catalogue, config: Config, weights: str, progress: ProgressCallback | None = None
) -> tuple[Truth, SweepSummary]:
    """Run all stages on a benchmark's folder, and sweep its queries over its references, keeping all scores.

    Needs a running Ray. Does only what is left to do. Raises FileNotFoundError or ValueError if the folder is not a
    benchmark.
    """
    truth = read_truth(directory / "truth.json")
    options: SweepOptions = {"queries": QUERIES, "references": REFERENCES, "min_score": 0.0}
    done = run(str(directory), catalogue, config, weights, progress, **options)
    if done.segmented.rejects + done.segmented.rejected_before:
        log.warning("some tracks of the benchmark are rejects and count as not found; asid rejects lists the reasons")
    return truth, done.swept


def fit_verdicts(catalogue: Catalogue, config: Config, weights: str) -> Fit:
    """Fit the final score to the catalogue's verdicts on pairs of its newest sweep.

    Confirmed pairs are right, those marked "not a sample" are wrong, and "unsure" ones are ignored. Uses the best
    `report.detections` rows of each kind. Raises CatalogueError without a sweep, ValueError with too few verdicts.
    """
    every = newest_findings(catalogue, config.report.detections, min_score=0.0)
    judged = with_verdicts(every, (verdicts.CONFIRMED, verdicts.NOT_A_SAMPLE))
    best = judged.rows.take(judged.relations.column("first_place"))
    counts = decides(best.column("coherence"))
    columns = [pc.fill_null(best.column(name), 0.0).filter(counts).to_numpy() for name in EVIDENCE]
    right = pc.equal(judged.relations.column("verdict"), verdicts.CONFIRMED).filter(counts).to_numpy()
    tries = tries_of(catalogue, config, weights)
    return fit_reviewed(np.stack(columns, axis=1).astype(np.float64), right, config.score, tries)


def tries_of(catalogue: Catalogue, config: Config, weights: str, references: str | None = None) -> int:
    """Number of comparisons per query window: rows searched times probes, twice if both ways.

    references: a glob of the tracks searched.
    """
    _, searched = find_references(catalogue, load_model(weights, config), references)
    ways = 2 if config.probes.reversed else 1
    return searched.num_rows * len(config.probes.grid) * ways


def evaluate_bench(
    directory: Path, catalogue: Catalogue, config: Config, weights: str, progress: ProgressCallback | None = None
) -> Evaluated:
    """Run `sweep_bench` and report, under the strict protocol, every stage of STAGES that the model has."""
    truth, swept = sweep_bench(directory, catalogue, config, weights, progress)
    references = [f"references/{name}" for name in truth.references]
    reports = {
        stage: evaluate(_scored_by(swept.detections, column), truth, "strict", config.score.threshold, references)
        for stage, column in STAGES.items()
        if swept.detections.column(column).null_count < max(1, swept.detections.num_rows)
    }
    return Evaluated(swept, reports)


def _scored_by(detections: pa.Table, column: str) -> pa.Table:
    """The detections scored by another column. Rows without a value get the lowest one."""
    values = detections.column(column)
    lowest = pc.min(values).as_py() or 0.0
    index = detections.schema.get_field_index("score")
    return detections.set_column(index, detections.schema.field("score"), pc.fill_null(values, lowest))


def evaluate_annotations(
    directory: Path,
    catalogue: Catalogue,
    config: Config,
    weights: str,
    queries: str | None = None,
    references: str | None = None,
    progress: ProgressCallback | None = None,
) -> Evaluated:
    """Sweep a catalogue that is already embedded, and score it against annotations in the layout of Sample100-ext.

    `queries`, `references`: globs of the tracks to sweep; references without annotations are distractors. Reports the
    protocols `strict` and `paper` for whole tracks, then for clips of QUERY_LENGTHS_S seconds. For clips, the paper
    protocol uses the authors' own list of places if the folder has it.
    Raises AnnotationError for bad annotations, ValueError if the catalogue has none of the annotated queries.
    """
    annotations = read_annotations(directory)
    durations_s = _durations_s(catalogue)
    missing = annotations.missing(durations_s)
    if not set(annotations.queries) - set(missing):
        raise ValueError(
            f"none of the {len(annotations.queries)} annotated queries ({annotations.queries[0]}, ...) is in "
            f"{catalogue.location.uri}. Name its files after the track ids in samples.csv."
        )
    swept = sweep(catalogue, config, weights, queries, references, min_score=0.0, progress=progress)
    truth = annotations.truth({track_name(track_id): seconds for track_id, seconds in durations_s.items()})
    searched = [track_id for track_id in durations_s if fnmatch.fnmatchcase(track_id, references or "*")]
    threshold = config.score.threshold
    reports = {
        "strict": evaluate(swept.of_all_queries, truth, "strict", threshold, searched),
        "paper": evaluate(swept.of_all_queries, truth, "paper", threshold, searched),
    }
    lists = clip_lists(directory, annotations)
    every = [clip for clips in lists.values() for clip in clips]
    detections = identify_clips(catalogue, config, weights, every, references, progress)
    occurrences = (
        rates(detections, clips, annotations, protocol, length_s, searched)
        for (protocol, length_s), clips in lists.items()
    )
    annotated = len({*annotations.queries, *annotations.references})
    rated = tuple(r for r in occurrences if r is not None)
    return Evaluated(swept, reports, tuple(missing), annotated, rated)


def clip_lists(directory: Path, annotations: Annotations) -> dict[tuple[Protocol, float], list[Clip]]:
    """The clips to identify for each protocol and length in seconds."""
    authors = directory / AUTHORS_LIST
    ours = {length_s: annotations.clips(length_s) for length_s in QUERY_LENGTHS_S}
    theirs = {n: read_authors_clips(authors, n) for n in QUERY_LENGTHS_S} if authors.is_file() else ours
    lists: dict[Protocol, dict[float, list[Clip]]] = {"strict": ours, "paper": theirs}
    return {(protocol, length_s): clips for protocol, some in lists.items() for length_s, clips in some.items()}


def _durations_s(catalogue: Catalogue) -> dict[str, float]:
    batches = catalogue.tracks(columns=("track_id", "duration_s"))
    return {row["track_id"]: row["duration_s"] for batch in batches for row in batch.to_pylist()}


def comparison(reports: Mapping[str, Report], title: str) -> str:
    """A Markdown table with one row per report; `title` heads the first column."""
    lines = [f"| {title} | mAP | HR@1 | AUROC |", "|---|---|---|---|"]
    for name, report in reports.items():
        figures = " | ".join(str(report.figures[measure]) for measure in ("map", "hit_at_1", "auroc"))
        lines.append(f"| {name} | {figures} |")
    return "\n".join(lines) + "\n"
