"""Measures calibration, false alarms and recall of the score, and predicts them for up to a million distractors.

Uses a benchmark with distractors, such as that of `make wild-validation`. The coarse scores of more distractors are
extrapolated from each query's best real ones (a generalised Pareto tail, with one shape for all queries). Their
verification results are drawn from those of real distractors with similar coarse scores.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from asid_core import config as configs
from asid_core.config import Config
from asid_core.evaluation.fitting import hours_of
from asid_core.evaluation.truth import Truth, track_name
from benchmarks.lib import calibration
from benchmarks.lib.among_distractors import DISTRACTORS, WEIGHTS, swept
from benchmarks.lib.charts import reliabilities
from benchmarks.lib.distractors import Tail, fit_tails, in_tail
from benchmarks.lib.growth import Growth, Measured, pairs_of
from benchmarks.lib.results import RESULTS, write_section
from benchmarks.lib.validation_bench import folder_of
from pipelines.evaluate import REFERENCES, tries_of
from pipelines.runtime import start_ray

COMMAND = "make -C benchmarks score"
SIZES = (100, 300, 1000, 10_000, 100_000, 1_000_000)


def main(argv: Sequence[str] | None = None) -> int:
    bench = folder_of(argv, __doc__)
    if bench is None:
        return 2
    start_ray(None)
    config = configs.load(WEIGHTS)
    truth, sweep = swept(bench)
    names = sorted(path.stem for path in (bench / "references").iterdir())
    tries = tries_of(sweep.catalogue, config, WEIGHTS, REFERENCES)
    text = report(sweep.detections, truth, names, config, tries)
    text += calibrated(sweep.detections, truth, bench.name)
    print(text)
    write_section(f"Score and catalogue size, {bench.name}", COMMAND, text)
    return 0


def report(detections: pa.Table, truth: Truth, references: Sequence[str], config: Config, tries: int) -> str:
    """The section for RESULTS.md. references: names of all searched tracks, including distractors."""
    distractors = [name for name in references if name.startswith(track_name(DISTRACTORS))]
    growth = Growth(truth, pairs_of(detections, truth, track_name(DISTRACTORS)), distractors, config, tries)
    tails = tails_of(growth)
    scores, right = calibration.pair_scores(detections, truth)
    bins = calibration.reliability(scores, right)
    hours = hours_of(truth)
    real = [size for size in SIZES if size < len(distractors)] + [len(distractors)]
    lines = [
        f"{len(truth.queries)} queries ({hours:.2f} h), {len(truth.references)} references and {len(distractors)} real "
        f"distractors; threshold {config.score.threshold:g}.",
        "",
        calibration.to_markdown(bins),
        f"Expected calibration error {calibration.expected_calibration_error(bins):.4f}, log loss "
        f"{calibration.log_loss(scores, right):.4f} nats per pair.",
        "",
        Measured.header(),
        *(growth.with_real(size).row("real", size) for size in real),
        *(growth.with_synthetic(size, tails).row("predicted", size) for size in SIZES),
    ]
    return "\n".join(lines) + "\n"


def calibrated(detections: pa.Table, truth: Truth, name: str) -> str:
    """Draw how well the score and the direction are calibrated; return what RESULTS.md says of both."""
    scores = calibration.reliability(*calibration.pair_scores(detections, truth))
    directions = calibration.reliability(*calibration.pair_directions(detections, truth))
    lines = []
    for what, axis, bins in (
        ("score", "score of a pair", scores),
        ("direction", "probability that the query samples the reference", directions),
    ):
        figure = RESULTS.parent / "figures" / f"calibration-{what}-{name}.svg"
        reliabilities({what: bins}, axis, figure)
        lines += ["", f"![Calibration of the {what}]({figure.parent.name}/{figure.name})"]
    error = calibration.expected_calibration_error(directions)
    return "\n".join([*lines, "", f"Expected calibration error of the direction: {error:.4f}."]) + "\n"


def tails_of(growth: Growth) -> dict[str, Tail]:
    """The tail of distractor scores of each query, fitted to its verified ones. Queries with too few have none."""
    verified = {
        name: np.array([pair.coarse for pair in pairs if pair.is_distractor]) for name, pairs in growth.pairs.items()
    }
    enough = {name: scores for name, scores in verified.items() if len(scores) > in_tail(growth.num_distractors)}
    return dict(zip(enough, fit_tails(list(enough.values()), growth.num_distractors), strict=True))


if __name__ == "__main__":
    sys.exit(main())
