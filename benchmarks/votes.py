"""What votes in inverted lists keep of what the exact search finds, and for how much work, as the table grows.

Wild queries that sample a reference are searched among all real references and a growing number of synthetic rows. Of
the queries whose true track is among the exact search's best `search.verify_tracks`, "kept" is the share that have it
among the best tracks by votes; also of those queries alone whose pair a sweep of the benchmark reports.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asid_core import config as configs
from asid_core.evaluation.evaluate import read_pairs
from asid_core.matching.inverted_lists import lists_for
from benchmarks.lib.among_distractors import WEIGHTS, catalogue_in, swept
from benchmarks.lib.kept import WANTED, exponent, foreseen, needed, places
from benchmarks.lib.results import write_json, write_section
from benchmarks.lib.synthetic import ROWS_PER_TRACK
from benchmarks.lib.validation_bench import BENCH
from benchmarks.lib.votes import ExactRanks, Ranking, voted
from benchmarks.lib.wild_rows import WildRows
from pipelines.runtime import start_ray
from pipelines.store import fingerprints
from pipelines.store.catalogue import Catalogue

COMMAND = "make -C benchmarks votes"
SIZES = (300_000, 1_000_000, 4_000_000)  # synthetic rows
SHARES = (1 / 1024, 1 / 512, 1 / 256, 1 / 128, 1 / 64, 1 / 32, 1 / 16)  # of the lists that are probed
BEST, FORESEEN_BEST = (20, 100, 200), 200  # tracks
FORESEEN = (100_000, 1_000_000)  # tracks


@dataclass(frozen=True)
class Point:
    """One number of probed lists in one table."""

    rows: int  # of the table
    lists: int
    probed: int
    work: float  # multiply-adds per query
    exact_work: float
    seconds: float  # of one core, per query
    exact_seconds: float
    hits: float  # per query
    kept: dict[str, float]  # by what is kept


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--bench", metavar="DIR", type=Path, default=BENCH)
    parser.add_argument("--sizes", metavar="N", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--every", metavar="N", type=int, default=1, help="take one in N queries")
    args = parser.parse_args(argv)
    config, catalogue = configs.load(WEIGHTS), Catalogue(str(catalogue_in(args.bench)))
    wild = WildRows(args.bench, catalogue, fingerprints.load_model(WEIGHTS, config), config, args.every)
    points: list[Point] = []
    reported = reported_in(args.bench, wild)
    for point in measured(wild, reported, sorted(args.sizes)):
        points.append(point)
        print(row(point), flush=True)
        write_json("votes", {"points": points})
    text = report(wild, points)
    print(text)
    write_section("Votes", COMMAND if args.every == 1 else f"{COMMAND} EVERY={args.every}", text)
    return 0


def reported_in(bench: Path, wild: WildRows) -> np.ndarray:
    """Whether a sweep of the benchmark alone reports each query's true pair."""
    start_ray(None)
    truth, sweep = swept(bench)
    pairs = read_pairs(sweep.detections, truth)
    asked = ((query.name, wild.names[true]) for query, true in zip(wild.queries, wild.true, strict=True))
    best = (max((row.score for row in pairs[query].get(name, ())), default=0.0) for query, name in asked)
    return np.array([score >= wild.config.score.threshold for score in best])


def measured(wild: WildRows, reported: np.ndarray, sizes: Sequence[int]) -> Iterator[Point]:
    rows, ranks = wild.with_synthetic(max(sizes)), ExactRanks(wild)
    for size in sizes:
        table = rows.first(len(wild.real.codes) + size)
        exact, lists = ranks.grow(table), lists_for(len(table.codes))
        probed = sorted({max(1, round(share * lists)) for share in SHARES})
        for count, votes in zip(probed, voted(wild, table, lists, probed), strict=True):
            kept = kept_of(wild, reported, range(wild.num_real, int(table.track.max()) + 1), exact, votes)
            yield Point(
                rows=len(table.codes), lists=lists, probed=count, kept=kept,
                work=votes.work / len(wild.queries), exact_work=exact.work / len(wild.queries),
                seconds=votes.seconds / len(wild.queries), exact_seconds=exact.seconds / len(wild.queries),
                hits=votes.hits / len(wild.queries),
            )  # fmt: skip


def kept_of(wild: WildRows, reported: np.ndarray, synthetic: range, exact: Ranking, votes: Ranking) -> dict[str, float]:
    """Share of what the exact search finds that votes keep, by what is kept. reported: as from `reported_in`."""
    most = wild.config.search.verify_tracks
    found, at = places(exact.ranked, wild.true) < most, places(votes.ranked, wild.true)
    kept = {f"in the best {best}": float((at[found] < best).mean()) for best in BEST}
    kept |= {f"reported, in the best {best}": float((at[found & reported] < best).mean()) for best in BEST}
    for tracks in FORESEEN:
        for name, others in (("synthetic", synthetic), ("real", range(wild.num_real))):
            known = foreseen(exact.ranked, wild.true, others, most, tracks)
            still = foreseen(votes.ranked, wild.true, others, FORESEEN_BEST, tracks)
            kept[f"foreseen in {FORESEEN_BEST} of {tracks:,}, {name}"] = float(still[known].mean())
    return kept


def report(wild: WildRows, points: Sequence[Point]) -> str:
    lines = [
        f"{len(wild.queries)} queries that sample one of {wild.num_real} real references, whose "
        f"{len(wild.real.codes):,} rows are among the rows; the others are synthetic, in tracks of {ROWS_PER_TRACK:,}. "
        "Work, of a query: multiply-adds; share: of those of the exact search's first pass and scoring of groups. "
        "Seconds, of a query: of one core. Kept: share of the true tracks among the best "
        f"{wild.config.search.verify_tracks} of the exact search that are among so many best by votes; reported: of "
        "those that a sweep of the benchmark reports. Foreseen: the "
        "same in a larger catalogue, by tails fitted to the scores of the synthetic or of the other real tracks. Not "
        f"counted: the exact search in the best tracks by votes; {FORESEEN_BEST} tracks are a table of "
        f"{FORESEEN_BEST * ROWS_PER_TRACK:,} rows.",
        "",
        "| rows | lists | probed | work (10^9) | share | seconds | exact, work (10^9) | exact, seconds | hits "
        f"| {' | '.join(points[0].kept)} |",
        "|---" * (9 + len(points[0].kept)) + "|",
        *map(row, points),
        "",
        f"Share of the exact search's work at which {WANTED:.0%} are kept, interpolated, and the exponent with which "
        "the work grows with the rows. \u2264: the smallest number of lists keeps them already; these are not fitted. "
        "-: the largest number of lists does not keep them.",
        "",
        *needs(points),
    ]
    return "\n".join(lines)


def row(p: Point) -> str:
    cells = [f"{p.rows:,}", f"{p.lists:,}", str(p.probed), f"{p.work / 1e9:.1f}", f"{p.work / p.exact_work:.3f}"]
    cells += [f"{p.seconds:.2f}", f"{p.exact_work / 1e9:.0f}", f"{p.exact_seconds:.2f}", f"{p.hits:,.0f}"]
    return f"| {' | '.join([*cells, *(f'{share:.3f}' for share in p.kept.values())])} |"


def needs(points: Sequence[Point]) -> Iterator[str]:
    """Lines of a Markdown table: work for WANTED by number of rows, and the exponent of its growth with the rows."""
    sizes = sorted({p.rows for p in points})
    yield f"| kept | {' | '.join(f'{size:,} rows' for size in sizes)} | exponent |"
    yield "|---" * (2 + len(sizes)) + "|"
    for name in points[0].kept:
        cells, fitted = [], []
        for size in sizes:
            some = [p for p in points if p.rows == size]
            work, at_most = needed([p.work for p in some], [p.kept[name] for p in some])
            cells.append("\u2264 " * at_most + figure(work / some[0].exact_work, 3))
            fitted.append(float("nan") if at_most else work)
        yield f"| {name} | {' | '.join(cells)} | {figure(exponent(sizes, fitted), 2)} |"


def figure(value: float, digits: int) -> str:
    return "-" if np.isnan(value) else f"{value:.{digits}f}"


if __name__ == "__main__":
    sys.exit(main())
