"""Map of the coarse search on the wild validation benchmark: the share of true tracks it would verify, and the cost.

Varies one setting at a time. Runs the coarse search alone, in this process; features and probed patches of a query are
computed once for all settings. --beside adds a model with windows of another length: alone, and as a second scale whose
hits count together with the first one's.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from asid_core.evaluation.statistics import mean_figure
from asid_core.evaluation.truth import Truth, read_truth, track_name
from asid_core.model.fingerprinter import Fingerprinter
from benchmarks.lib.among_distractors import WEIGHTS
from benchmarks.lib.coarse_rows import reference_windows
from benchmarks.lib.coarse_setting import KEPT, Heard, Scale, Setting, found
from benchmarks.lib.quality_bench import is_made
from benchmarks.lib.results import write_section
from benchmarks.lib.validation_bench import BENCH
from benchmarks.lib.validation_bench import COMMAND as MADE_BY

COMMAND = "make -C benchmarks coarse_ablation"
BASE = Setting()
VARIED = (
    BASE,
    *(replace(BASE, dim=dim) for dim in (64, 128)),
    *(replace(BASE, hop_s=hop_s) for hop_s in (0.25, 1.0)),
    *(replace(BASE, reach=reach) for reach in ((0.0, 1.0), (7.0, 1.0), (4.0, 1.37))),
    *(replace(BASE, first_pass=replace(BASE.first_pass, stride=stride)) for stride in (1, 4)),
    *(replace(BASE, first_pass=replace(BASE.first_pass, dims=dims)) for dims in (64, 256)),
    *(replace(BASE, first_pass=replace(BASE.first_pass, probes=probes)) for probes in (1, 3, 15)),
)
OTHER_SCALES = tuple(replace(BASE, scales=scales) for scales in ((1,), (0, 1)))
VERIFIED = (1, 10, 20, 40)  # tracks per query


@dataclass
class Ranks:
    """By query that samples something: the rank of the true track from 1, KEPT + 1 if lower, and seconds of search."""

    ranks: dict[str, int] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)

    def row(self) -> str:
        """Columns of a table: the share among the first k of VERIFIED, and the mean seconds."""
        shares = (mean_figure([float(rank <= k) for rank in self.ranks.values()]) for k in VERIFIED)
        return f"{' | '.join(map(str, shares))} | {sum(self.seconds) / len(self.seconds):.2f}"


def measure(scales: Sequence[Scale], bench: Path, truth: Truth, varied: Sequence[Setting]) -> dict[Setting, Ranks]:
    """What each setting finds of samples that are played forwards. Recordings that a query ignores have no rank."""
    paths = {track_name(path.name): path for path in sorted((bench / "queries").iterdir())}
    names = [track_name(name) for name in scales[0].references.names]
    ignored = {query.name: query.ignored for query in truth.queries}
    by_setting = {setting: Ranks() for setting in varied}
    sampled = {relation.query: relation.reference for relation in truth.relations if not relation.backwards}
    for number, (query, true) in enumerate(sampled.items(), start=1):
        heard = Heard.of(paths[query], scales, min(setting.hop_s for setting in varied))
        for setting, ranks in by_setting.items():
            started = time.process_time()
            order = [names[number] for number in found(heard, scales, setting)]
            ranks.seconds.append(time.process_time() - started)
            order = [name for name in order if name not in ignored[query]]
            ranks.ranks[query] = order.index(true) + 1 if true in order else KEPT + 1
        print(f"query {number} of {len(sampled)}", end="\r", file=sys.stderr)
    return by_setting


def table(by_setting: Mapping[Setting, Ranks], scales: Sequence[Scale]) -> str:
    """A Markdown table with one row per setting."""
    lines = [
        "| windows (s) | dimensions | hop (s) | probes | first pass: rows | dimensions | tempi "
        f"| {' | '.join(f'in the first {k}' for k in VERIFIED)} | seconds per query |",
        "|---" * (8 + len(VERIFIED)) + "|",
    ]
    for setting, ranks in by_setting.items():
        windows = " and ".join(f"{scales[number].model.window_s:.0f}" for number in setting.scales)
        chosen, first = setting.chosen(scales[0].model.config), setting.first_pass
        looked_at = first.stride, min(first.dims, setting.dim), chosen.alike(first.probes)
        values = (windows, setting.dim, setting.hop_s, len(chosen.grid), *looked_at)
        lines.append(f"| {' | '.join(map(str, values))} | {ranks.row()} |")
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--bench", metavar="DIR", type=Path, default=BENCH)
    parser.add_argument("--beside", metavar="W", help="weights of a model that differs in its window_frames alone")
    args = parser.parse_args(argv)
    if not is_made(args.bench, MADE_BY):
        return 2
    paths = sorted((args.bench / "references").iterdir())
    with torch.no_grad():
        models = [Fingerprinter.from_pretrained(name) for name in (WEIGHTS, args.beside) if name]
        scales = [Scale(model, reference_windows(model, paths)) for model in models]
        varied = VARIED + (OTHER_SCALES if args.beside else ())
        ranks = measure(scales, args.bench, read_truth(args.bench / "truth.json"), varied)
    text = (
        f"{len(ranks[BASE].ranks)} queries that sample something, forwards, among {len(paths)} tracks; the coarse "
        "search alone. In the first k: the true track is among so many by evidence; 20 of a hundred are verified. The "
        "first pass compares every n-th row in the leading dimensions, one of n neighbouring tempi. Seconds of one "
        "core.\n\n"
    )
    text += table(ranks, scales)
    print(text)
    write_section("Map of the coarse search", COMMAND, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
