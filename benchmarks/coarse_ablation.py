"""Ablation of the coarse search: quality against dimensions, query hop, number of probes and first pass.

Varies one setting at a time from the config. Runs the coarse search alone, in this process; features and probed patches
of a track are computed once for all settings.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from torch.nn import functional as F

from asid_core.config import NO_FIRST_PASS, SAMPLE_RATE_HZ, Config, FirstPassConfig, ProbesConfig
from asid_core.evaluation.evaluate import evaluate
from asid_core.evaluation.report import Report
from asid_core.evaluation.truth import Truth, read_truth, track_name
from asid_core.matching.align import Candidate, align
from asid_core.matching.coarse import ExactSearch
from asid_core.model.fingerprinter import Fingerprinter
from benchmarks.lib.coarse_rows import References, as_rows, features, reference_windows
from benchmarks.lib.quality_bench import BENCH, is_made
from benchmarks.lib.results import write_section

COMMAND = "make -C benchmarks coarse_ablation"
DIMS, HOPS_S, PROBES = (64, 128, 256), (0.5, 1.0, 2.0), (1, 9, 27, 81)
FIRST_PASSES = (
    NO_FIRST_PASS,
    *(FirstPassConfig(stride, probes=probes) for stride in (1, 2, 4) for probes in (1, 3, 9)),
)
BLOCK_ROWS = 32_768


@dataclass(frozen=True)
class Setting:
    """One setting. probes: 9 means all pitches at the original tempo, 27 means every third tempo."""

    dim: int = 256
    hop_s: float = 1.0
    probes: int = 81
    first_pass: FirstPassConfig = FirstPassConfig(stride=2, probes=3)

    def chosen(self, config: Config) -> ProbesConfig:
        """The subset of the config's probes that this setting uses."""
        semitones, tempi = config.probes.semitones, config.probes.tempo_ratios
        ratios = {1: [1.0], 9: [1.0], 27: list(tempi[1::3]), 81: list(tempi)}[self.probes]
        return ProbesConfig(semitones if self.probes > 1 else (0.0,), tuple(ratios))


def settings(most: int) -> list[Setting]:
    """All settings that vary one value. most: the largest number of dimensions."""
    base = Setting(dim=most)
    varied = [replace(base, dim=dim) for dim in DIMS if dim <= most]
    varied += [replace(base, hop_s=hop) for hop in HOPS_S] + [replace(base, probes=count) for count in PROBES]
    varied += [replace(base, first_pass=first_pass) for first_pass in FIRST_PASSES]
    return list(dict.fromkeys(varied))


def candidates(
    model: Fingerprinter, path: Path, references: References, varied: Sequence[Setting]
) -> Iterator[tuple[Setting, list[Candidate]]]:
    """For each setting, the candidates that it finds for the query at `path`."""
    config = model.config
    track_features = features(model, path)
    every = Setting().chosen(config).grid
    step = min(setting.hop_s for setting in varied) * SAMPLE_RATE_HZ / model.hop_samples
    half = config.model.front_end.window_frames / 2
    centres = torch.arange(half, track_features.shape[1] - half + 1e-6, step, dtype=torch.float64)
    vectors = model.probe(track_features, centres, every)
    for setting in varied:
        chosen = setting.chosen(config)
        probes = chosen.grid
        which = [every.index(probe) for probe in probes]
        stride = round(setting.hop_s * SAMPLE_RATE_HZ / model.hop_samples / step)
        own = F.normalize(vectors[which, ::stride, : setting.dim], dim=2)
        first_pass = replace(setting.first_pass, probes=chosen.alike(setting.first_pass.probes))
        search = ExactSearch(own, config.search.hits_per_window, first_pass)
        for start in range(0, len(references.vectors), BLOCK_ROWS):
            rows = references.vectors[start : start + BLOCK_ROWS, : setting.dim]
            search.add(F.normalize(rows, dim=1), start)
        centres_s = centres[::stride].numpy() * model.hop_samples / SAMPLE_RATE_HZ
        rows_at = (references.tracks, references.centres_s)
        yield setting, align(search.hits(), centres_s, probes, *rows_at, model.window_s, config.search)


def measure(model: Fingerprinter, bench: Path, truth: Truth, varied: Sequence[Setting]) -> dict[Setting, Report]:
    """The report of each setting, under the strict protocol."""
    paths = {track_name(p.name): p for folder in ("queries", "references") for p in sorted((bench / folder).iterdir())}
    references = reference_windows(model, [paths[name] for name in truth.references])
    rows: dict[Setting, list[dict[str, Any]]] = {setting: [] for setting in varied}
    for number, query in enumerate(truth.queries, start=1):
        for setting, found in candidates(model, paths[query.name], references, varied):
            rows[setting] += as_rows(query.name, references.names, found)
        print(f"query {number} of {len(truth.queries)}", end="\r", file=sys.stderr)
    return {
        setting: evaluate(pa.Table.from_pylist(found), truth, "strict", 0.5, references.names)
        for setting, found in rows.items()
    }


def table(reports: Mapping[Setting, Report]) -> str:
    """A Markdown table with one row per setting."""
    lines = [
        "| dimensions | hop of the query (s) | probes | first pass: rows | probes | mAP | `hard` | AUROC |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for setting, report in reports.items():
        chosen = (
            f"{setting.first_pass.stride} | {setting.first_pass.probes}"
            if setting.first_pass.stride
            else "all in full |"
        )
        values = f"{setting.dim} | {setting.hop_s} | {setting.probes} | {chosen}"
        hard = report.groups.get("tier", {}).get("hard", {}).get("map", "-")
        lines.append(f"| {values} | {report.figures['map']} | {hard} | {report.figures['auroc']} |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--bench", metavar="DIR", type=Path, default=BENCH)
    parser.add_argument("--weights", metavar="W", default="linear")
    args = parser.parse_args(argv)
    if not is_made(args.bench):
        return 2
    model = Fingerprinter.from_pretrained(args.weights)
    with torch.no_grad():
        reports = measure(model, args.bench, read_truth(args.bench / "truth.json"), settings(model.dim))
    count = len(next(iter(reports.values())).per_query["map"])
    body = f"{count} queries that sample something; coarse search alone. Columns of the first pass: it compares "
    body += "every n-th row, and one of n neighbouring probes.\n\n"
    print(body + table(reports))
    write_section(f"Map of {Path(args.weights).name}: dimensions, hop, probes", COMMAND, body + table(reports))
    return 0


if __name__ == "__main__":
    sys.exit(main())
