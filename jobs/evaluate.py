"""asid evaluate: a catalogue against annotations of who samples whom (Sample100-ext)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from jobs import command
from jobs.command import Failure, Outcome, Session, Verb

NAMED = 20  # missing tracks
MOST = 0.5  # share of the annotated tracks that may be missing without --allow-missing


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--annotations", metavar="DIR", type=Path, required=True, help="samples.csv, tracks.csv and annotations/"
    )
    command.catalogue_option(parser)
    parser.add_argument("--queries", metavar="GLOB", help="only tracks whose track_id matches, as queries")
    parser.add_argument("--references", metavar="GLOB", help="only tracks whose track_id matches, as references")
    parser.add_argument("--output", metavar="F.json", help="write all figures here")
    parser.add_argument(
        "--allow-missing",
        action="store_true",
        help="exit with 0 even if more than half of the annotated tracks are not in the catalogue",
    )


def work(session: Session) -> Outcome:
    from asid_core.evaluation.occurrences import to_markdown
    from pipelines.evaluate import comparison, evaluate_annotations
    from pipelines.runtime import start_ray
    from pipelines.store.catalogue import Catalogue
    from pipelines.store.location import Location

    args = session.args
    catalogue = Catalogue(args.catalogue)
    start_ray(args.ray_address)
    try:
        with catalogue.writing("evaluate"):  # its sweep is kept in the catalogue
            found = evaluate_annotations(
                args.annotations,
                catalogue,
                session.config,
                session.weights(),
                args.queries,
                args.references,
                session.progress,
            )
    except ValueError as error:
        raise Failure(str(error)) from error
    print(found.reports["strict"].to_markdown())
    print(comparison(found.reports, "protocol"))
    if found.occurrences:
        print(to_markdown(found.occurrences))
    if found.missing:
        print(missing(found.missing))
    if args.output:
        Location(args.output).write_bytes(found.to_json(annotations=args.annotations.name))
    code = exit_code(session, len(found.missing), found.annotated)
    figures = ", ".join(f"{name} mAP {report.figures['map']}" for name, report in found.reports.items())
    counts = f"{figures}; {len(found.missing)} of {found.annotated} annotated tracks missing"
    return Outcome(session.summary(counts), code)


def exit_code(session: Session, missing: int, annotated: int) -> int:
    """FAILED, with a line that says so, where most of the annotated tracks are missing and that was not allowed."""
    if session.args.allow_missing or missing <= MOST * annotated:
        return command.DONE
    print(
        f"asid evaluate: {missing} of {annotated} annotated tracks are not in the catalogue: the figures say little; "
        "name the files after the track ids of samples.csv, or give --allow-missing",
        file=sys.stderr,
    )
    return command.FAILED


def missing(names: Sequence[str]) -> str:
    """What is not in the catalogue, in a line."""
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return f"not in the catalogue, counted as not found: {', '.join(names[:NAMED])}{more}"


VERB = Verb(
    "evaluate",
    "Score a catalogue by annotations (Sample100-ext), paper and strict protocols.",
    "asid evaluate --annotations ~/sample100-ext --catalogue ~/sample100.asid\n"
    "asid evaluate --annotations ~/sample100-ext --catalogue s3://bucket/everything --output ~/figures.json",
    options,
    work,
)
