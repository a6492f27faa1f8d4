"""Quality of `linear` as noise tracks grow to a million: real ones as far as there are, beyond them synthetic ones.

After `make quality` and on the same queries. Fingerprints are drawn like the real noise's, in blocks, and searched and
aligned as a sweep does; a tail fitted to what they score foretells the best of very many. Of those the best 20 take
places among the verified, and what verification says of one is drawn from what it said of real noise as strong.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from asid_core import config as configs
from asid_core.config import SAMPLE_RATE_HZ, Config
from asid_core.evaluation.distractors import Surrogates, Tail, fit_tails
from asid_core.evaluation.truth import Truth, track_name
from asid_core.matching.align import align
from asid_core.matching.coarse import ExactSearch
from benchmarks.calls import forget_other_code
from benchmarks.candidates import swept, with_noise
from benchmarks.curve import Series, curve
from benchmarks.growth import Growth, Measured, pairs_of
from benchmarks.results import write_section
from pipelines import fingerprints
from pipelines.audio import pieces_of_tracks
from pipelines.catalogue import Catalogue
from pipelines.identify import Identifier
from pipelines.references import Blocks, References
from pipelines.runtime import start_ray
from pipelines.sweep import find_references
from pipelines.track_features import features_of

COMMAND = "make -C benchmarks distractors MUSIC=path"
WEIGHTS = "linear"
NOISE = "references/noise_"
DRAWN, BLOCK, KEEP = 128, 64, 400  # synthetic tracks for all queries; at a time; hits a window
TRIED, TRIED_QUERIES = 2048, 4  # synthetic tracks that the tail is tried on, for so few queries
SIZES = (0, 30, 95, 300, 1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
FIGURE = Path(__file__).with_name("figures") / "distractors.svg"


@dataclass(frozen=True)
class Query:
    """What a query is searched with: vectors [P, n, dim], and the centre of each window in its recording."""

    name: str
    vectors: Tensor
    centres_s: np.ndarray


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--music", metavar="DIR", type=Path, required=True, help="the folder `make quality` was given")
    parser.add_argument("--bench", metavar="DIR", type=Path, default=Path("out/bench-quality"), help="its benchmark")
    args = parser.parse_args(argv)
    if not (args.bench / "truth.json").exists():
        print(f"no benchmark in {args.bench}: run `make -C benchmarks quality` first", file=sys.stderr)
        return 2
    place = args.bench.with_name(f"{args.bench.name}-noise")
    forget_other_code(place)
    with_noise(args.bench, args.music, place)
    start_ray(None)
    config = configs.load(WEIGHTS)
    truth, sweep = swept(place, config.search.verify_tracks)
    growth = Growth(truth, pairs_of(sweep.detections, truth, track_name(NOISE)), config)
    queries, tails, tried = searched(place, config, truth)
    text = report(growth, queries, tails, tried, config)
    print(text)
    write_section("Distractors", COMMAND, text)
    return 0


def searched(place: Path, config: Config, truth: Truth) -> tuple[list[Query], list[Tail], dict[str, np.ndarray]]:
    """The queries, what synthetic distractors score against each, and, for some, what far more of them score."""
    catalogue = Catalogue(str(place / f"catalogue-{WEIGHTS}"))
    model = fingerprints.load_model(WEIGHTS, config)
    tracks, references = find_references(catalogue, model, "references/*")
    noise = noise_vectors(catalogue, references, config)
    length = round(float(np.mean([len(track) for track in noise])))
    wanted = {q.name for q in truth.queries}
    rows = [row for row in tracks.to_pylist() if track_name(row["track_id"]) in wanted]
    queries = list(prepared(catalogue, Identifier(catalogue, model, config, references), config, rows))
    surrogates = Surrogates(noise, length)
    scores = coarse_scores(queries, surrogates, DRAWN, config, references, seed=0)
    some = queries[:: len(queries) // TRIED_QUERIES][:TRIED_QUERIES]
    many = coarse_scores(some, surrogates, TRIED, config, references, seed=1)
    return queries, fit_tails(scores, DRAWN), {q.name: s for q, s in zip(some, many, strict=True)}


def noise_vectors(catalogue: Catalogue, references: References, config: Config) -> list[Tensor]:
    """Fingerprints [n, dim] of every real noise track."""
    ids = references.tracks["track_id"].to_pylist()
    parts: dict[int, list[Tensor]] = {}
    for block in Blocks(catalogue, references, config.search.silence_db):
        for track in np.unique(block.tracks):
            if track >= 0 and ids[track].startswith(NOISE):
                parts.setdefault(int(track), []).append(block.vectors[torch.from_numpy(block.tracks == track)])
    return [torch.cat(some) for some in parts.values()]


def prepared(catalogue: Catalogue, identifier: Identifier, config: Config, rows: list[dict]) -> Iterator[Query]:
    pieces = pieces_of_tracks(catalogue, ((row["track_id"], row["segment_files"]) for row in rows))
    hop_s = identifier.model.hop_samples / SAMPLE_RATE_HZ
    for features in features_of(pieces, identifier.model, config.verify.features):
        centres = identifier.centres(features)
        if len(centres):
            name = track_name(features.track_id)
            yield Query(name, identifier.vectors(features, centres), centres.numpy() * hop_s)


def coarse_scores(
    queries: Sequence[Query], surrogates: Surrogates, count: int, config: Config, references: References, seed: int
) -> list[np.ndarray]:
    """Coarse scores of the distractors found of `count`, for each query; a block of vectors is held at a time."""
    settings = config.search
    searches = [ExactSearch(q.vectors, KEEP, settings.look_dims, settings.look_stride) for q in queries]
    generator = torch.Generator().manual_seed(seed)
    for first in range(0, count, BLOCK):
        vectors = surrogates.draw(min(BLOCK, count - first), generator)
        for search in searches:
            search.add(vectors, first * surrogates.rows)
    row_track = np.repeat(np.arange(count, dtype=np.int32), surrogates.rows)
    row_centre_s = np.tile(np.arange(surrogates.rows) * references.hop_s + references.window_s / 2, count)
    probes = [(s, t) for s in config.probes.semitones for t in config.probes.tempo_ratios]
    every = replace(settings, verify_tracks=count, places_a_track=1)
    found = []
    for query, search in zip(queries, searches, strict=True):
        hits = search.hits()
        lines = align(hits, query.centres_s, probes, row_track, row_centre_s, references.window_s, every)
        found.append(np.array([line.coarse_score for line in lines]))
    return found


def report(
    growth: Growth, queries: Sequence[Query], tails: Sequence[Tail], tried: dict[str, np.ndarray], config: Config
) -> str:
    by_name = {query.name: tail for query, tail in zip(queries, tails, strict=True)}
    sizes = [size for size in SIZES if size == 0 or size <= growth.num_noise]
    real = {size: growth.with_real(size) for size in sizes}
    drawn = {size: growth.with_synthetic(size, by_name) for size in SIZES}
    FIGURE.parent.mkdir(exist_ok=True)
    FIGURE.write_text(
        curve(
            [
                Series("mAP, synthetic", [(n, m.map_all) for n, m in drawn.items() if n], True),
                Series(
                    "true reference among the verified, synthetic", [(n, m.recall) for n, m in drawn.items() if n], True
                ),
                Series("mAP, real", [(n, m.map_all) for n, m in real.items() if n], False),
                Series("among the verified, real", [(n, m.recall) for n, m in real.items() if n], False),
            ],
            "noise tracks beside 32 references",
        )
    )
    lines = [
        f"{len(growth.truth.queries)} queries, {len(growth.truth.references)} references and so many noise tracks; the "
        f"best {config.search.verify_tracks} tracks of a query are verified; strict. Fewer real ones are read off the",
        "sweep of all of them.",
        "",
        f"![Quality against the number of noise tracks]({FIGURE.parent.name}/{FIGURE.name})",
        "",
        Measured.header(),
        *(m.row("real", n) for n, m in real.items()),
        *(m.row("synthetic", n) for n, m in drawn.items()),
        "",
        "How well synthetic ones stand for real ones: the coarse score of each query's best noise track, mean over",
        "queries (and its 10 % and 90 % quantiles).",
        "",
        *matches(growth, by_name, sizes),
        "",
        f"How well the tail foretells: it was fitted to the best {tails[0].fitted} of {DRAWN} synthetic tracks a query "
        f"(shape {tails[0].shape:.2f}), and here is held against {TRIED:,} others, for {len(tried)} queries.",
        "",
        *foretold(by_name, tried),
    ]
    return "\n".join(lines)


def matches(growth: Growth, tails: dict[str, Tail], sizes: Sequence[int]) -> Iterator[str]:
    yield "| noise tracks | real | synthetic |"
    yield "|---|---|---|"
    for size in sizes:
        if size:
            cells = (growth.best_real(size), growth.best_synthetic(size, tails))
            yield f"| {size} | " + " | ".join(_spread(np.asarray(values)) for values in cells) + " |"


def _spread(values: np.ndarray) -> str:
    low, high = np.quantile(values, [0.1, 0.9])
    return f"{values.mean():.2f} ({low:.2f}, {high:.2f})"


def foretold(tails: dict[str, Tail], tried: dict[str, np.ndarray]) -> Iterator[str]:
    yield f"| the k-th best of {TRIED:,} | found | foretold |"
    yield "|---|---|---|"
    rng = np.random.default_rng(0)
    for k in (1, 5, 20):
        found = np.mean([np.sort(scores)[-k] for scores in tried.values()])
        expected = np.mean([[tails[name].best(k, TRIED, rng)[-1] for _ in range(200)] for name in tried])
        yield f"| {k} | {found:.2f} | {expected:.2f} |"


if __name__ == "__main__":
    sys.exit(main())
