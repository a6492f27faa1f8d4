"""asid sweep: every track against every other."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from jobs import command, relations, tables
from jobs.command import Outcome, Session, Verb

if TYPE_CHECKING:
    import pyarrow as pa

    from pipelines.store.catalogue import Catalogue


def options(parser: argparse.ArgumentParser) -> None:
    command.catalogue_option(parser)
    parser.add_argument("--queries", metavar="GLOB", help="only tracks whose track_id matches, as queries")
    parser.add_argument("--references", metavar="GLOB", help="only tracks whose track_id matches, as references")
    parser.add_argument(
        "--new-only",
        action="store_true",
        help="take over what the last sweep found of unchanged tracks; only pairs with a new or changed one are swept",
    )
    parser.add_argument(
        "--reversed",
        dest="set",
        action="append_const",
        const="probes.reversed=true",
        default=[],
        help="find samples that are played backwards as well: twice the search",
    )
    command.score_option(parser)
    parser.add_argument(
        "--export", metavar="F", type=tables.export_path, help="write every place to a .csv, .json or .parquet"
    )
    command.format_option(parser)


def work(session: Session) -> Outcome:
    from pipelines.runtime import start_ray
    from pipelines.search.sweep import sweep
    from pipelines.store.catalogue import Catalogue

    args = session.args
    catalogue = Catalogue(args.catalogue)
    start_ray(args.ray_address)
    found = sweep(
        catalogue,
        session.config,
        session.weights(),
        queries=args.queries,
        references=args.references,
        min_score=args.min_score,
        progress=session.progress,
        new_only=args.new_only,
    )
    counts = show(session, catalogue, found.detections)
    return Outcome(session.summary(f"sweep {found.sweep_id}: {counts}"), to_stderr=args.format != "table")


def show(session: Session, catalogue: Catalogue, detections: pa.Table) -> str:
    """Print the relations, and export all detections where asked. Returns how much was found, in words."""
    from pipelines.report.findings import findings_of
    from pipelines.store.location import Location

    found = findings_of(catalogue, detections)
    relations.show(found, session.args.format)
    if export := session.args.export:
        Location(export).write_bytes(tables.encode(detections, tables.format_of(export)))
    return relations.counts(found)


VERB = Verb(
    "sweep",
    "Find every sample: each track against all the others.",
    "asid sweep --catalogue ~/music.asid --export places.csv\n"
    "asid sweep --catalogue ~/music.asid --format csv > relations.csv\n"
    'asid sweep --catalogue ~/music.asid --queries "new/*" --references "archive/*"',
    options,
    work,
)
