"""asid sweep: compare every track with every other."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, cast

from jobs import command, relations, tables
from jobs.command import Outcome, Session, Verb

if TYPE_CHECKING:
    import pyarrow as pa

    from pipelines.search.sweep import SweepOptions
    from pipelines.store.catalogue import Catalogue


def options(parser: argparse.ArgumentParser) -> None:
    command.catalogue_option(parser)
    parser.add_argument("--queries", metavar="GLOB", help="look for samples only in tracks whose track_id matches")
    parser.add_argument("--references", metavar="GLOB", help="look only for samples of tracks whose track_id matches")
    parser.add_argument(
        "--new-only",
        action="store_true",
        help="compare only pairs with a new or changed track; copy the other results from the last sweep",
    )
    parser.add_argument(
        "--reversed",
        dest="set",
        action="append_const",
        const="probes.reversed=true",
        default=[],
        help="also find samples that are played backwards; doubles the search time",
    )
    command.score_option(parser)
    parser.add_argument(
        "--export", metavar="F", type=tables.export_path, help="write all places to a .csv, .json or .parquet file"
    )
    command.format_option(parser)


def chosen(args: argparse.Namespace) -> SweepOptions:
    """What the arguments of `options` ask of a sweep."""
    names = ("queries", "references", "min_score", "new_only")
    return cast("SweepOptions", {name: getattr(args, name) for name in names})


def work(session: Session) -> Outcome:
    from pipelines.runtime import start_ray
    from pipelines.search.sweep import sweep
    from pipelines.store.catalogue import Catalogue

    args = session.args
    catalogue = Catalogue(args.catalogue)
    start_ray(args.ray_address)
    result = sweep(
        catalogue,
        session.config,
        session.weights(),
        progress=session.progress,
        **chosen(args),
    )
    counts = show(session, catalogue, result.detections)
    return Outcome(session.summary(f"sweep {result.sweep_id}: {counts}"), to_stderr=args.format != "table")


def show(session: Session, catalogue: Catalogue, detections: pa.Table) -> str:
    """Print the relations, write `--export` if given, and return a summary of the counts."""
    from pipelines.report.findings import findings_of
    from pipelines.store.location import Location

    findings = findings_of(catalogue, detections)
    relations.show(findings, session.args.format)
    if export := session.args.export:
        Location(export).write_bytes(tables.encode(detections, tables.format_of(export)))
    return relations.counts(findings)


VERB = Verb(
    "sweep",
    "Find every sample: compare each track with all others.",
    "asid sweep --catalogue ~/music.asid --export places.csv\n"
    "asid sweep --catalogue ~/music.asid --format csv > relations.csv\n"
    'asid sweep --catalogue ~/music.asid --queries "new/*" --references "archive/*"',
    options,
    work,
    uses_ray=True,
)
