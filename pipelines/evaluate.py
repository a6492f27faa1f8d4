"""A benchmark, or an annotated data set, swept and scored."""

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
from asid_core.evaluation.fitting import EVIDENCE, Fit, fit_reviewed
from asid_core.evaluation.metrics import Protocol
from asid_core.evaluation.occurrences import Rates, rates
from asid_core.evaluation.report import Report, plain
from asid_core.evaluation.sample100 import QUERY_LENGTHS_S, Annotations, Clip, read_annotations, read_authors_clips
from asid_core.evaluation.truth import Truth, read_truth, track_name
from pipelines.report.findings import findings, with_verdicts
from pipelines.run import run
from pipelines.runtime import ProgressCallback
from pipelines.search.clips import identify_clips
from pipelines.search.sweep import SweepSummary, find_references, sweep
from pipelines.store import verdicts
from pipelines.store.catalogue import Catalogue
from pipelines.store.fingerprints import load_model

log = logging.getLogger(__name__)

QUERIES, REFERENCES = "queries/*", "references/*"  # of a benchmark's folder
# one stage alone by its own column, and all of them; the rows are those of one sweep
STAGES = {"coarse": "coarse_score", "rerank": "rerank_score", "verify": "verify_score", "all": "score"}
AUTHORS_LIST = "authors/sample100_query_index.json"  # in the folder of Sample100-ext
VERSIONS = ("asid", "torch", "ray", "pylance", "lancedb")


@dataclass(frozen=True)
class Evaluated:
    """What a sweep is worth. `missing`: annotated tracks the catalogue lacks; they count as not found."""

    sweep: SweepSummary
    reports: dict[str, Report]
    missing: tuple[str, ...] = ()
    annotated: int = 0  # tracks
    occurrences: tuple[Rates, ...] = ()  # of queries cut from annotated occurrences

    def to_json(self, **about: Any) -> bytes:
        """Everything, with versions; `about` says what was evaluated."""
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
    """Segment, embed and index a benchmark's folder, then sweep its queries over its references, low scores included.

    Needs a running Ray. Does only what is left to do. Raises FileNotFoundError or ValueError for a folder that is no
    benchmark.
    """
    truth = read_truth(directory / "truth.json")
    done = run(str(directory), catalogue, config, weights, QUERIES, REFERENCES, min_score=0.0, progress=progress)
    if done.segmented.rejects + done.segmented.rejected_before:
        log.warning("tracks of the benchmark were refused and count as not found: asid rejects lists the reasons")
    return truth, done.swept


def fit_verdicts(catalogue: Catalogue, config: Config, weights: str) -> Fit:
    """The final score fitted to the verdicts that the catalogue has on pairs of its newest sweep.

    Confirmed pairs are right and those that are "not a sample" wrong; "unsure" does not count. Holds the best
    `report.detections` rows of each kind. Raises CatalogueError without a sweep, ValueError with too few verdicts.
    """
    every = findings(catalogue, config.report.detections, min_score=0.0)
    judged = with_verdicts(every, (verdicts.CONFIRMED, verdicts.NOT_A_SAMPLE))
    best = judged.rows.take(judged.relations.column("first_place"))
    columns = [pc.fill_null(best.column(name), 0.0).to_numpy() for name in EVIDENCE]
    right = pc.equal(judged.relations.column("verdict"), verdicts.CONFIRMED).to_numpy()
    tries = tries_of(catalogue, config, weights)
    return fit_reviewed(np.stack(columns, axis=1).astype(np.float64), right, config.score.threshold, tries)


def tries_of(catalogue: Catalogue, config: Config, weights: str, references: str | None = None) -> int:
    """Rows searched x probes for each query window; `references`: a glob of the tracks searched."""
    _, searched = find_references(catalogue, load_model(weights, config), references)
    return searched.num_rows * len(config.probes.grid)


def evaluate_bench(
    directory: Path, catalogue: Catalogue, config: Config, weights: str, progress: ProgressCallback | None = None
) -> Evaluated:
    """`sweep_bench`, and the strict report of every stage of STAGES that the model has."""
    truth, swept = sweep_bench(directory, catalogue, config, weights, progress)
    references = [f"references/{name}" for name in truth.references]
    reports = {
        stage: evaluate(_scored_by(swept.detections, column), truth, "strict", config.score.threshold, references)
        for stage, column in STAGES.items()
        if swept.detections.column(column).null_count < max(1, swept.detections.num_rows)
    }
    return Evaluated(swept, reports)


def _scored_by(detections: pa.Table, column: str) -> pa.Table:
    """The detections with another column as their score; a row without it comes last."""
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
    """Sweep a catalogue that is embedded already and score it by annotations in the layout of Sample100-ext.

    `queries`, `references`: globs of the tracks to sweep; the rest of the catalogue's references are noise. Reports
    `strict` and `paper`, of whole tracks; then of cuts of QUERY_LENGTHS_S, for which the paper protocol takes the
    authors' own list of places, where the folder has it. Raises AnnotationError; ValueError where no annotated query is
    there.
    """
    annotations = read_annotations(directory)
    durations_s = _durations_s(catalogue)
    missing = annotations.missing(durations_s)
    if not set(annotations.queries) - set(missing):
        raise ValueError(
            f"none of the {len(annotations.queries)} annotated queries ({annotations.queries[0]}, ...) is in "
            f"{catalogue.location.uri}: its files must be named after the track ids of samples.csv"
        )
    swept = sweep(catalogue, config, weights, queries, references, min_score=0.0, progress=progress)
    truth = annotations.truth({track_name(track_id): seconds for track_id, seconds in durations_s.items()})
    there = [track_id for track_id in durations_s if fnmatch.fnmatchcase(track_id, references or "*")]
    threshold = config.score.threshold
    reports = {
        "strict": evaluate(swept.detections, truth, "strict", threshold, there),
        "paper": evaluate(swept.detections, truth, "paper", threshold, there),
    }
    lists = cut_lists(directory, annotations)
    every = [cut for cuts in lists.values() for cut in cuts]
    found = identify_clips(catalogue, config, weights, every, references, progress)
    occurrences = (
        rates(found, cuts, annotations, protocol, length_s, there) for (protocol, length_s), cuts in lists.items()
    )
    annotated = len({*annotations.queries, *annotations.references})
    rated = tuple(r for r in occurrences if r is not None)
    return Evaluated(swept, reports, tuple(missing), annotated, rated)


def cut_lists(directory: Path, annotations: Annotations) -> dict[tuple[Protocol, float], list[Clip]]:
    """What is cut for each protocol and length."""
    authors = directory / AUTHORS_LIST
    ours = {length_s: annotations.cuts(length_s) for length_s in QUERY_LENGTHS_S}
    theirs = {n: read_authors_clips(authors, n) for n in QUERY_LENGTHS_S} if authors.is_file() else ours
    lists: dict[Protocol, dict[float, list[Clip]]] = {"strict": ours, "paper": theirs}
    return {(protocol, length_s): cuts for protocol, some in lists.items() for length_s, cuts in some.items()}


def _durations_s(catalogue: Catalogue) -> dict[str, float]:
    batches = catalogue.tracks(columns=("track_id", "duration_s"))
    return {row["track_id"]: row["duration_s"] for batch in batches for row in batch.to_pylist()}


def comparison(reports: Mapping[str, Report], title: str) -> str:
    """A Markdown table, a report a row."""
    lines = [f"| {title} | mAP | HR@1 | AUROC |", "|---|---|---|---|"]
    for name, report in reports.items():
        figures = " | ".join(str(report.figures[measure]) for measure in ("map", "hit_at_1", "auroc"))
        lines.append(f"| {name} | {figures} |")
    return "\n".join(lines) + "\n"
