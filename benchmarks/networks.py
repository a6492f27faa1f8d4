"""Compares networks by the coarse search alone, on the wild validation benchmark: quality by kind, paired differences.

For networks without probes, as those of the ablation of the graph blocks (docs/training.md). Verification, which is the
same for all of them, is left out. Samples that are played backwards are left out as well.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from asid_core.config import NO_FIRST_PASS, SAMPLE_RATE_HZ
from asid_core.evaluation.evaluate import evaluate
from asid_core.evaluation.report import Report, paired_table
from asid_core.evaluation.truth import Truth, read_truth
from asid_core.matching.align import align
from asid_core.matching.coarse import ExactSearch
from asid_core.model.fingerprinter import Fingerprinter
from asid_core.precision import bfloat16_pays
from asid_core.signal.windows import window_starts
from benchmarks.lib.coarse_rows import References, as_rows, features, reference_windows
from benchmarks.lib.quality_bench import is_made
from benchmarks.lib.results import write_section
from benchmarks.lib.validation_bench import BENCH
from benchmarks.lib.validation_bench import COMMAND as MAKE_BENCH


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument(
        "weights", metavar="W", nargs="+", help="shipped names or folders; all are compared with the first"
    )
    parser.add_argument("--bench", metavar="DIR", type=Path, default=BENCH, help="a wild benchmark")
    args = parser.parse_args(argv)
    if not is_made(args.bench, MAKE_BENCH):
        return 2
    truth = forwards(read_truth(args.bench / "truth.json"))
    dtype = torch.bfloat16 if bfloat16_pays(torch.device("cpu")) else torch.float32  # as fingerprints are made
    with torch.no_grad():
        reports = {
            _name(weights): measure(Fingerprinter.from_pretrained(weights).for_inference(dtype), args.bench, truth)
            for weights in args.weights
        }
    text = table(reports)
    print(text)
    write_section("Networks alone", f"python -m benchmarks.networks {' '.join(args.weights)}", text)
    return 0


def _name(weights: str) -> str:
    """The name of shipped weights, or of the training that made them."""
    path = Path(weights)
    return path.parent.name if path.name == "best" else path.name


def forwards(truth: Truth) -> Truth:
    """The truth without the queries that play a sample backwards."""
    backwards = {one.query for one in truth.relations if one.backwards}
    queries = tuple(query for query in truth.queries if query.name not in backwards)
    return replace(truth, queries=queries, relations=tuple(one for one in truth.relations if not one.backwards))


def measure(model: Fingerprinter, bench: Path, truth: Truth) -> Report:
    """The report of the candidates' coarse scores, under the strict protocol."""
    paths = {path.stem: path for path in (bench / "references").iterdir()}
    queries = {path.stem: path for path in (bench / "queries").iterdir()}
    references = reference_windows(model, [paths[name] for name in sorted(paths)])
    rows: list[dict[str, Any]] = []
    for query in truth.queries:
        rows += found(model, queries[query.name], query.name, references)
    return evaluate(pa.Table.from_pylist(rows), truth, "strict", 0.5, references.names)


def found(model: Fingerprinter, path: Path, query: str, references: References) -> list[dict[str, Any]]:
    """The candidates of a query as rows: every window of the query is compared with all windows of the references."""
    track_features, front_end = features(model, path), model.config.model.front_end
    starts = window_starts(front_end, track_features.shape[1])
    search = ExactSearch(
        model.encode(track_features, starts)[0][None], model.config.search.hits_per_window, NO_FIRST_PASS
    )
    search.add(references.vectors, 0)
    centres_s = (starts.numpy() + front_end.window_frames / 2) * model.hop_samples / SAMPLE_RATE_HZ
    every = replace(model.config.search, verify_tracks=len(references.names), places_per_track=1)
    places = references.tracks, references.centres_s
    return as_rows(
        query, references.names, align(search.hits(), centres_s, [(0.0, 1.0)], *places, model.window_s, every)
    )


def table(reports: Mapping[str, Report]) -> str:
    """Markdown tables: quality of each network, by kind, and paired differences from the first."""
    first, *others = reports
    kinds = list(reports[first].groups["tier"])
    lines = [f"| network | mAP | AUROC | {' | '.join(kinds)} |", "|---" * (3 + len(kinds)) + "|"]
    for name, report in reports.items():
        figures = report.figures["map"], report.figures["auroc"]
        cells = [*figures, *(report.groups["tier"][kind]["map"] for kind in kinds)]
        lines.append(f"| {name} | {' | '.join(map(str, cells))} |")
    about = "Coarse search alone, without probes; samples played forwards; 95 % bootstrap intervals over queries.\n"
    pairs = [paired_table(reports[name], reports[first], (name, first)) for name in others]
    return "\n".join([about, *lines, "", *pairs])


if __name__ == "__main__":
    sys.exit(main())
