"""How many candidates to verify: recall of the coarse search by tier, what verifying more gains, and what it costs.

The queries of `make quality` against its references and every other recording of the music as noise. One sweep
verifies them all; smaller numbers are read off it, and a second one, of a single reference a query, tells the cost of
a candidate. The calibration of `score` is read off the same sweep.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from asid_core import config as configs
from asid_core.evaluation import calibration
from asid_core.evaluation.candidates import among_first, coarse_ranks, recall
from asid_core.evaluation.evaluate import evaluate
from asid_core.evaluation.truth import Truth
from benchmarks.quality import BEDS, FOLDERS
from benchmarks.results import write_section
from pipelines.catalogue import Catalogue
from pipelines.evaluate import sweep_bench
from pipelines.runtime import start_ray
from pipelines.sweep import SweepSummary

COMMAND = "make -C benchmarks candidates MUSIC=path"
COUNTS = (1, 2, 5, 10, 20, 50, 100)
WEIGHTS = "discriminant"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--music", metavar="DIR", type=Path, required=True, help="the folder `make quality` was given")
    parser.add_argument("--bench", metavar="DIR", type=Path, default=Path("out/bench-quality"), help="its benchmark")
    args = parser.parse_args(argv)
    if not (args.bench / "truth.json").exists():
        print(f"no benchmark in {args.bench}: run `make -C benchmarks quality` first", file=sys.stderr)
        return 2
    place = args.bench.with_name(f"{args.bench.name}-noise")
    with_noise(args.bench, args.music, place)
    start_ray(None)
    truth, few = swept(place, 1)
    truth, many = swept(place, max(COUNTS))
    # `known` is what a system may return, right or wrong: all of the catalogue
    known = [f"references/{path.stem}" for path in (place / "references").iterdir()]
    text = f"{curve(many.detections, truth, known)}\n{cost(few, many)}\n\n{calibrated(many.detections, truth)}"
    print(text)
    write_section("Candidates and calibration", COMMAND, text)
    return 0


def with_noise(bench: Path, music: Path, place: Path) -> None:
    """A benchmark folder of links: the queries and references of `bench`, and all music that is none of its beds."""
    held_out_beds = {path for pattern in BEDS for path in music.glob(pattern)}
    others = [
        path
        for folder in sorted(music.iterdir())
        if folder.is_dir() and folder.name not in FOLDERS
        for path in sorted(folder.rglob("*.ogg"))
        if path not in held_out_beds
    ]
    links = {place / name / path.name: path for name in ("queries", "references") for path in (bench / name).iterdir()}
    links |= {place / "references" / f"noise_{path.parent.name}_{path.name}": path for path in others}
    for link, target in links.items():
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(target.resolve())
    (place / "truth.json").write_bytes((bench / "truth.json").read_bytes())


def swept(place: Path, count: int) -> tuple[Truth, SweepSummary]:
    """A sweep that verifies `count` references a query; its seconds are of the whole."""
    config = configs.load(WEIGHTS)
    config = dataclasses.replace(config, search=dataclasses.replace(config.search, verify_tracks=count))
    catalogue = Catalogue(str(place / f"catalogue-{WEIGHTS}"), create=True, geometry=config.segment)
    return sweep_bench(place, catalogue, config, WEIGHTS)


def curve(detections: pa.Table, truth: Truth, known: Sequence[str]) -> str:
    ranks = coarse_ranks(detections, truth)
    lines = [
        f"{len(truth.queries)} queries, {len(known)} references, of which {len(known) - len(truth.references)} are "
        "noise; strict. Recall: the true reference is among the first k of the coarse search.",
        "",
        "| k verified | recall | exact | mild | hard | mAP | AUROC | rows a query |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for k in COUNTS:
        part = among_first(detections, truth, k)
        figures = evaluate(part, truth, references=known).figures
        shares = [recall(ranks, truth, k, tier) for tier in (None, "exact", "mild", "hard")]
        cells = [*map(str, shares), str(figures["map"]), str(figures["auroc"])]
        lines.append(f"| {k} | {' | '.join(cells)} | {part.num_rows / len(truth.queries):.1f} |")
    return "\n".join(lines) + "\n"


def cost(few: SweepSummary, many: SweepSummary) -> str:
    """Seconds a candidate, by the difference of two sweeps that differ in their number only."""
    more = many.detections.num_rows - few.detections.num_rows
    seconds = many.seconds - few.seconds
    if not few.shards or not many.shards or seconds <= 0:
        return "The sweeps had been done before: delete the catalogue to time them again."
    return (
        f"{few.seconds:.0f} s with one reference a query, {many.seconds:.0f} s with {max(COUNTS)}: "
        f"{seconds:.0f} s for {more:,} more rows, {more / seconds:.0f} candidates a second of the whole machine."
    )


def calibrated(detections: pa.Table, truth: Truth) -> str:
    scores, right = calibration.pair_scores(detections, truth)
    bins = calibration.reliability(scores, right)
    error, loss = calibration.expected_calibration_error(bins), calibration.log_loss(scores, right)
    return (
        f"{calibration.to_markdown(bins)}\nScore against truth, the best row of each of {len(scores):,} pairs: "
        f"expected calibration error {error:.4f}, log loss {loss:.4f} nats a pair."
    )


if __name__ == "__main__":
    sys.exit(main())
