"""Estimates the quality of the default model with up to a million distractors: real ones first, then synthetic ones.

Run after `make quality`, with the same queries. Synthetic fingerprints that resemble the real distractors are searched
and aligned as in a sweep. A tail fitted to their scores predicts the best scores among very many of them. The best 20
compete for verification; their verification results are drawn from those of real distractors with similar scores.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from asid_core import config as configs
from asid_core.config import Config
from asid_core.evaluation.truth import track_name
from benchmarks.lib.among_distractors import DISTRACTORS, WEIGHTS, beside, catalogue_in, folder_of, swept
from benchmarks.lib.calls import forget_other_code
from benchmarks.lib.charts import Series, curves
from benchmarks.lib.distractors import Tail
from benchmarks.lib.growth import Growth, Measured, pairs_of
from benchmarks.lib.quality_bench import BENCH
from benchmarks.lib.results import write_section
from benchmarks.lib.synthetic import DRAWN, TRIED, Query, searched
from pipelines.evaluate import REFERENCES, tries_of
from pipelines.runtime import start_ray
from pipelines.store.catalogue import Catalogue

COMMAND = "make -C benchmarks distractors MUSIC=path"
WILD_COMMAND = "make -C benchmarks wild-distractors"
SIZES = (0, 30, 95, 300, 1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
FIGURES = Path(__file__).with_name("figures")


def main(argv: Sequence[str] | None = None) -> int:
    place = folder_of(argv, __doc__)
    if place is None:
        return 2
    forget_other_code(place)
    start_ray(None)
    config = configs.load(WEIGHTS)
    truth, sweep = swept(place)
    distractors = [path.stem for path in (place / "references").glob(f"{track_name(DISTRACTORS)}*")]
    catalogue = Catalogue(str(catalogue_in(place)))
    tries = tries_of(catalogue, config, WEIGHTS, REFERENCES)
    growth = Growth(truth, pairs_of(sweep.detections, truth, track_name(DISTRACTORS)), distractors, config, tries)
    queries, tails, tried = searched(catalogue, WEIGHTS, config, truth)
    own = place == beside(BENCH)
    figure = FIGURES / ("distractors.svg" if own else f"distractors-{place.name}.svg")
    text = report(growth, queries, tails, tried, config, figure)
    print(text)
    write_section("Distractors" if own else f"Distractors, {place.name}", COMMAND if own else WILD_COMMAND, text)
    return 0


def report(
    growth: Growth,
    queries: Sequence[Query],
    tails: Sequence[Tail],
    tried: dict[str, np.ndarray],
    config: Config,
    figure: Path,
) -> str:
    raw = {query.name: tail for query, tail in zip(queries, tails, strict=True)}
    by_name, shift, scale = growth.calibrated(raw)
    sizes = [*(size for size in SIZES if size < growth.num_distractors), growth.num_distractors]
    real = {size: growth.with_real(size) for size in sizes}
    drawn = {size: growth.with_synthetic(size, by_name) for size in SIZES}
    curves(
        [
            Series("mAP, synthetic", [(n, m.map_all) for n, m in drawn.items() if n], True),
            Series("mAP, coarse alone, synthetic", [(n, m.map_coarse) for n, m in drawn.items() if n], True),
            Series("mAP, real", [(n, m.map_all) for n, m in real.items() if n], False),
            Series("mAP, coarse alone, real", [(n, m.map_coarse) for n, m in real.items() if n], False),
        ],
        f"distractors beside {len(growth.truth.references)} references",
        figure,
    )
    lines = [
        f"{len(growth.truth.queries)} queries, {len(growth.truth.references)} references and the given number of "
        f"distractors; {config.search.verify_tracks} tracks per query are verified, as many again for every ten times "
        "more than a hundred; strict protocol. Results for fewer real distractors are derived from the sweep with all "
        "of them.",
        "",
        f"![Quality against the number of distractors]({figure.parent.name}/{figure.name})",
        "",
        Measured.header(),
        *(m.row("real", n) for n, m in real.items()),
        *(m.row("synthetic", n) for n, m in drawn.items()),
        "",
        "How well synthetic distractors represent real ones: coarse score of each query's best distractor, mean over",
        "queries (10 % and 90 % quantiles).",
        "",
        *matches(growth, raw, by_name, sizes),
        "",
        f"Scores of synthetic tracks are calibrated to {shift:.2f} + {scale:.2f} times their value, so that the best "
        f"and fifth best of {growth.num_distractors} match the real ones; the other rows check this.",
        "",
        f"How well the tail predicts: it is fitted to the best {tails[0].fitted} of {DRAWN} synthetic tracks per query "
        f"(shape {tails[0].shape:.2f}), and compared here with {TRIED:,} others, for {len(tried)} queries.",
        "",
        *predicted(raw, tried),
    ]
    return "\n".join(lines)


def matches(growth: Growth, raw: dict[str, Tail], moved: dict[str, Tail], sizes: Sequence[int]) -> Iterator[str]:
    """The lines of a Markdown table: best coarse scores of real, synthetic and calibrated synthetic distractors."""
    yield "| distractors | real | synthetic as drawn | synthetic, calibrated |"
    yield "|---|---|---|---|"
    for size in filter(None, sizes):
        drawn = (growth.best_synthetic(size, tails) for tails in (raw, moved))
        cells = (_spread(np.asarray(values)) for values in (growth.best_real(size), *drawn))
        yield f"| {size} | {' | '.join(cells)} |"


def _spread(values: np.ndarray) -> str:
    low, high = np.quantile(values, [0.1, 0.9])
    return f"{values.mean():.2f} ({low:.2f}, {high:.2f})"


def predicted(tails: dict[str, Tail], tried: dict[str, np.ndarray]) -> Iterator[str]:
    """The lines of a Markdown table: measured and predicted scores of the k-th best synthetic distractor."""
    yield f"| k-th best of {TRIED:,} | measured | predicted |"
    yield "|---|---|---|"
    rng = np.random.default_rng(0)
    for k in (1, 5, 20):
        measured = np.mean([np.sort(scores)[-k] for scores in tried.values()])
        expected = np.mean([[tails[name].best(k, TRIED, rng)[-1] for _ in range(200)] for name in tried])
        yield f"| {k} | {measured:.2f} | {expected:.2f} |"


if __name__ == "__main__":
    sys.exit(main())
