"""Fits the default's score to the wild validation benchmark and to `asid demo`, and prints it.

The tracks of the demo share synthetic drums, as tracks of one studio do. A score that is fitted to the benchmark alone
reports such pairs.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from asid_core import config as configs
from asid_core.config import Config, ScoreConfig
from asid_core.evaluation.fitting import EVIDENCE, PER_TRY, alarm_level, below_ceiling, best_rows, hours_of, logistic
from asid_core.evaluation.metrics import Floats
from asid_core.evaluation.truth import Truth
from asid_core.synthetic.demo_music import write_demo
from benchmarks.lib.among_distractors import WEIGHTS, swept
from benchmarks.lib.systems import BACKWARDS
from benchmarks.lib.validation_bench import folder_of
from pipelines.evaluate import REFERENCES, tries_of
from pipelines.run import run
from pipelines.runtime import start_ray
from pipelines.store.catalogue import Catalogue

# The matched filter adds nothing to these two. But among few references, to which nothing is fitted, z-scores stay low,
# and its margin tells a copy.
USED = [EVIDENCE.index("coarse_score"), EVIDENCE.index("rerank_score")]
MARGIN, BY_HAND = EVIDENCE.index("verify_margin"), 2.0
DEMO_COUNTS = 3  # times as much as the benchmark: it has few pairs
SPARE = 0.7  # log-odds between the demo's best wrong pair and the threshold


@dataclass(frozen=True)
class Pairs:
    """EVIDENCE [n, 4] of the best row of each pair, whether it is right [n], the tries, and hours of audio."""

    evidence: Floats
    right: npt.NDArray[np.bool_]
    tries: int
    hours: float


def main(argv: Sequence[str] | None = None) -> int:
    bench = folder_of(argv, __doc__)
    if bench is None:
        return 2
    start_ray(None)
    *weights, intercept = fitted(of_bench(bench), of_demo(configs.load(WEIGHTS))).tolist()
    named = ", ".join(f"{name} {weight:.3f}" for name, weight in zip(EVIDENCE, weights, strict=True))
    print(f"intercept {intercept:.2f}, {named}, tries {PER_TRY}")
    return 0


def fitted(bench: Pairs, demo: Pairs) -> Floats:
    """The coefficients of EVIDENCE and the intercept, before the tries count: logistic regression, and then lowered.

    It is lowered until the demo has no false alarm and the benchmark has as few as `asid bench fit` allows. Only then
    does it count that the demo has fewer tries. Raises ValueError if the demo has no wrong pair.
    """
    evidence = np.concatenate([bench.evidence, *[demo.evidence] * DEMO_COUNTS])[:, USED]
    result = np.zeros(len(EVIDENCE) + 1)
    result[[*USED, -1]] = logistic(evidence, np.concatenate([bench.right, *[demo.right] * DEMO_COUNTS]))
    result[MARGIN] = BY_HAND
    lost, lost_there = (ScoreConfig(tries=PER_TRY).of_tries(some.tries) for some in (bench, demo))
    wrong, wrong_there = ((some.evidence @ result[:-1] + result[-1])[~some.right] for some in (bench, demo))
    result[-1] -= max(0.0, alarm_level(wrong, bench.hours), float(wrong_there.max()) + lost - lost_there + SPARE)
    result[-1] += lost
    return result


def of_bench(place: Path) -> Pairs:
    """The pairs of a benchmark's folder, searched both ways as by `make -C benchmarks wild-validation`."""
    truth, sweep = swept(place, BACKWARDS)
    return _pairs(sweep.detections, truth, sweep.catalogue, configs.load(WEIGHTS, BACKWARDS), REFERENCES)


def of_demo(config: Config) -> Pairs:
    """The pairs of `asid demo`. Both directions of a planted pair are right."""
    with tempfile.TemporaryDirectory(prefix="asid-fit-") as folder:
        truth = write_demo(Path(folder))
        catalogue = Catalogue(f"{folder}/catalogue", create=True, geometry=config.segment)
        rows = run(f"{folder}/music", catalogue, config, WEIGHTS, min_score=0.0).swept.of_all_queries
        turned = tuple(replace(one, query=one.reference, reference=one.query) for one in truth.relations)
        return _pairs(rows, replace(truth, relations=(*truth.relations, *turned)), catalogue, config)


def _pairs(rows: pa.Table, truth: Truth, catalogue: Catalogue, config: Config, references: str | None = None) -> Pairs:
    evidence, right = best_rows(rows, truth)
    tries = tries_of(catalogue, config, WEIGHTS, references)
    return Pairs(below_ceiling(evidence, config.score), right, tries, hours_of(truth))


if __name__ == "__main__":
    sys.exit(main())
