"""Measures how many candidates to verify: recall of the coarse search, and the gain and cost of verifying more.

Uses the queries of `make quality` against its references, with every other recording of the music as a distractor. One
sweep verifies the largest number; results for smaller numbers are derived from it. A second sweep, with one reference
per query, gives the cost of a candidate. The calibration of `score` comes from the first sweep.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import pyarrow as pa

from asid_core.evaluation.evaluate import evaluate
from asid_core.evaluation.truth import Truth
from benchmarks.lib import calibration
from benchmarks.lib.among_distractors import folder_of, swept
from benchmarks.lib.candidates import among_first, coarse_ranks, recall
from benchmarks.lib.results import write_section
from pipelines.runtime import start_ray
from pipelines.search.sweep import SweepSummary

COMMAND = "make -C benchmarks candidates MUSIC=path"
COUNTS = (1, 2, 5, 10, 20, 50, 100)


def main(argv: Sequence[str] | None = None) -> int:
    place = folder_of(argv, __doc__)
    if place is None:
        return 2
    start_ray(None)
    truth, few = swept(place, ["search.verify_tracks=1"])
    truth, many = swept(place, [f"search.verify_tracks={max(COUNTS)}"])
    # all tracks of the catalogue, which a system may return
    known = [f"references/{path.stem}" for path in (place / "references").iterdir()]
    text = f"{curve(many.detections, truth, known)}\n{cost(few, many)}\n\n{calibrated(many.detections, truth)}"
    print(text)
    write_section("Candidates and calibration", COMMAND, text)
    return 0


def curve(detections: pa.Table, truth: Truth, known: Sequence[str]) -> str:
    """A Markdown table of quality against the number of verified references. known: ids of all searched tracks."""
    ranks = coarse_ranks(detections, truth)
    lines = [
        f"{len(truth.queries)} queries, {len(known)} references, of which {len(known) - len(truth.references)} are "
        "distractors; strict. Recall: the true reference is among the first k of the coarse search.",
        "",
        "| k verified | recall | exact | mild | hard | mAP | AUROC | rows per query |",
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
    """The cost of a candidate, from two sweeps that differ only in the number of candidates."""
    more = many.detections.num_rows - few.detections.num_rows
    seconds = many.seconds - few.seconds
    if not few.shards or not many.shards or seconds <= 0:
        return "The sweeps were already done; delete the catalogue to time them again."
    return (
        f"{few.seconds:.0f} s with one reference per query, {many.seconds:.0f} s with {max(COUNTS)}: "
        f"{seconds:.0f} s for {more:,} more rows, {more / seconds:.0f} candidates per second on the whole machine."
    )


def calibrated(detections: pa.Table, truth: Truth) -> str:
    scores, right = calibration.pair_scores(detections, truth)
    bins = calibration.reliability(scores, right)
    error, loss = calibration.expected_calibration_error(bins), calibration.log_loss(scores, right)
    return (
        f"{calibration.to_markdown(bins)}\nScore against truth, the best row of each of {len(scores):,} pairs: "
        f"expected calibration error {error:.4f}, log loss {loss:.4f} nats per pair."
    )


if __name__ == "__main__":
    sys.exit(main())
