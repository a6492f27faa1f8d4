"""asid query: find what the given files sample. They need not be in the catalogue."""

from __future__ import annotations

import argparse
import itertools
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from asid_core.plain_text import shown
from jobs import command, logs, relations, tables
from jobs.command import Outcome, Session, Verb

if TYPE_CHECKING:
    from pipelines.report.findings import Findings


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", metavar="FILE", nargs="+", help="recordings, local or s3://")
    command.catalogue_option(parser)
    command.format_option(parser)
    parser.add_argument(
        "--forwards-only",
        dest="set",
        action="append_const",
        const="probes.reversed=false",
        default=["probes.reversed=true"],
        help="do not look for samples that are played backwards; halves the search time",
    )
    parser.add_argument("--top", metavar="N", type=int, help="print at most N places per file (default: all)")


def work(session: Session) -> Outcome:
    from pipelines.report.findings import findings_of
    from pipelines.search.query import query
    from pipelines.store.catalogue import Catalogue

    args = session.args
    catalogue = Catalogue(args.catalogue)
    detections, unreadable = query(args.files, catalogue, session.config, session.weights(), args.top)
    for file, error in unreadable.items():
        logs.tell(f"asid query: {shown(file)}: {shown(error)}", logging.WARNING)
    usable = [file for file in dict.fromkeys(args.files) if file not in unreadable]
    for file in sorted(set(usable) - set(detections.column("query_id").to_pylist()), key=usable.index):
        logs.tell(f"asid query: {shown(file)}: readable, but it samples nothing in this catalogue")
    show(findings_of(catalogue, detections), detections.to_pylist(), args.format)
    counts = f"{tables.counted(len(usable), 'file')}, {tables.counted(detections.num_rows, 'place')}"
    counts += f", {len(unreadable)} unreadable" if unreadable else ""
    code = command.FAILED if unreadable else command.DONE
    return Outcome(session.summary(counts), code, to_stderr=args.format != "table")


def show(findings: Findings, rows: Sequence[dict[str, Any]], format: str) -> None:
    """Print the relations, and in a table also what each file plays when. `rows`: the detections, grouped by query."""
    relations.show(findings, format, limit=findings.relations.num_rows)
    if format == "table":
        names = relations.names_of(findings.tracks)
        for file, places in itertools.groupby(rows, key=lambda row: row["query_id"]):
            print(f"\nWhat {names[file]} plays:")
            relations.show_places(list(places), names)


VERB = Verb(
    "query",
    "Find what files sample; they need not be in the catalogue.",
    "asid query beat.wav --catalogue ~/music.asid\n"
    "asid query *.mp3 --catalogue ~/music.asid --format json > found.json",
    options,
    work,
)
