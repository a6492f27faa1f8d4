"""asid evaluate: score a catalogue against annotations of who samples whom (Sample100-ext)."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from jobs import command, figures, logs
from jobs.command import Failure, Outcome, Session, Verb

MAX_LISTED = 20  # missing tracks to print by name
MAX_MISSING = 0.5  # share of the annotated tracks that may be missing without --allow-missing


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--annotations",
        metavar="DIR",
        type=Path,
        required=True,
        help="holds samples.csv, tracks.csv and annotations/",
    )
    command.catalogue_option(parser)
    parser.add_argument("--queries", metavar="GLOB", help="use only tracks whose track_id matches as queries")
    parser.add_argument("--references", metavar="GLOB", help="use only tracks whose track_id matches as references")
    parser.add_argument("--output", metavar="F.json", help="file for all figures")
    command.format_option(parser)
    parser.add_argument(
        "--allow-missing",
        action="store_true",
        help="exit with code 0 even if more than half of the annotated tracks are not in the catalogue",
    )


def work(session: Session) -> Outcome:
    from asid_core.evaluation.occurrences import to_markdown
    from pipelines.evaluate import evaluate_annotations
    from pipelines.runtime import start_ray
    from pipelines.store.catalogue import Catalogue
    from pipelines.store.location import Location

    args = session.args
    catalogue = Catalogue(args.catalogue)
    start_ray(args.ray_address)
    try:
        with catalogue.writing("evaluate"):  # the sweep is stored in the catalogue
            evaluation = evaluate_annotations(
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
    figures.show(evaluation.reports, "strict", "protocol", args.format)
    if args.format == "table" and evaluation.occurrences:
        print(to_markdown(evaluation.occurrences))
    if args.format == "table" and evaluation.missing:
        print(missing(evaluation.missing))
    if args.output:
        Location(args.output).write_bytes(evaluation.to_json(annotations=args.annotations.name))
    code = exit_code(session, len(evaluation.missing), evaluation.annotated)
    means = ", ".join(f"{name} mAP {report.figures['map']}" for name, report in evaluation.reports.items())
    counts = f"{means}; {len(evaluation.missing)} of {evaluation.annotated} annotated tracks missing"
    return Outcome(session.summary(counts), code, to_stderr=args.format != "table")


def exit_code(session: Session, missing: int, annotated: int) -> int:
    """FAILED, with a message, if most annotated tracks are missing and `--allow-missing` was not given."""
    if session.args.allow_missing or missing <= MAX_MISSING * annotated:
        return command.DONE
    logs.tell(
        f"asid evaluate: {missing} of {annotated} annotated tracks are not in the catalogue, so the figures mean "
        "little. Name the files after the track ids in samples.csv, or pass --allow-missing.",
        logging.ERROR,
    )
    return command.FAILED


def missing(names: Sequence[str]) -> str:
    """One line that lists the annotated tracks that are not in the catalogue."""
    more = f" and {len(names) - MAX_LISTED:,} more" if len(names) > MAX_LISTED else ""
    return f"not in the catalogue, counted as not found: {', '.join(names[:MAX_LISTED])}{more}"


VERB = Verb(
    "evaluate",
    "Score a catalogue against annotations (Sample100-ext), paper and strict protocols.",
    "asid evaluate --annotations ~/sample100-ext --catalogue ~/sample100.asid\n"
    "asid evaluate --annotations ~/sample100-ext --catalogue s3://bucket/everything --output ~/figures.json",
    options,
    work,
    uses_ray=True,
)
