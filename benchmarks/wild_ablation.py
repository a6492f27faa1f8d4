"""What each part of the default model is worth on the wild validation benchmark: it is left out, all else stays."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from asid_core.evaluation.report import Report, compare
from benchmarks.lib.results import write_section
from benchmarks.lib.systems import BACKWARDS, System, scored
from benchmarks.lib.validation_bench import BENCH

NARROW = (
    "probes.semitones=[-4,-3,-2,-1,0,1,2,3,4]",
    "probes.tempo_ratios=[0.735,0.794,0.857,0.926,1.0,1.08,1.166,1.26,1.36]",
)
VARIANTS = {
    "a query window every second": ("probes.query_hop_s=1.0",),
    "100 hits of a window": ("search.hits_per_window=100",),
    "81 probes": NARROW,
}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bench", metavar="DIR", type=Path, default=BENCH)
    parser.add_argument("--weights", metavar="W", default="discriminant")
    parser.add_argument("--variants", metavar="NAME", nargs="*", choices=VARIANTS, default=list(VARIANTS))
    args = parser.parse_args(argv)
    whole = scored(System("whole", "ablation-whole", args.weights, BACKWARDS), args.bench).reports["all"]
    reports = {"whole": whole}
    for name in args.variants:
        system = System(name, f"ablation-{name.replace(' ', '-')}", args.weights, (*BACKWARDS, *VARIANTS[name]))
        reports[name] = scored(system, args.bench).reports["all"]
    text = table(reports)
    print(text)
    write_section("Wild benchmark, ablation", "make -C benchmarks wild-ablation", text)
    return 0


def table(reports: dict[str, Report]) -> str:
    """A row for each system: mAP, its difference from the first with interval, mAP of each kind."""
    whole = next(iter(reports.values()))
    kinds = sorted(whole.groups["tier"])
    lines = [f"| | mAP | minus whole | AUROC | {' | '.join(kinds)} |", "|---" * (4 + len(kinds)) + "|"]
    for name, report in reports.items():
        difference = "" if report is whole else str(compare(report, whole, "map"))
        by_kind = [f"{report.groups['tier'][kind]['map'].value:.3f}" for kind in kinds]
        figures = [str(report.figures["map"]), difference, str(report.figures["auroc"]), *by_kind]
        lines.append(f"| {name} | {' | '.join(figures)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
