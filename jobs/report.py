"""asid report: write the findings of the newest sweep as a web page with audio, and as exports for other tools."""

from __future__ import annotations

import argparse

from jobs import command, relations
from jobs.command import Outcome, Session, Verb


def options(parser: argparse.ArgumentParser) -> None:
    command.catalogue_option(parser)
    parser.add_argument("--output", metavar="DIR", required=True, help="folder or s3:// prefix for the page")
    command.score_option(parser)
    parser.add_argument(
        "--verdict",
        choices=("confirmed", "unsure", "not a sample", "none"),
        action="append",
        help="show and export only relations with this verdict (none: without one); may be repeated",
    )


def work(session: Session) -> Outcome:
    from pipelines.report.page import report
    from pipelines.store.catalogue import Catalogue
    from pipelines.store.location import Location

    catalogue = Catalogue(session.args.catalogue)
    args = session.args
    summary = report(catalogue, Location(args.output), session.config, args.min_score, session.progress, args.verdict)
    counts = relations.count_text(summary.samples, summary.duplicates, summary.places)
    counts += f" (without {summary.left_out:,} weaker detections)" if summary.left_out else ""
    return Outcome(session.summary(f"{summary.page}: {counts}, {summary.heard:,} with sound"))


VERB = Verb(
    "report",
    "Write a web page of the findings with audio, and exports for other tools.",
    "asid report --catalogue ~/music.asid --output ~/samples      # then open ~/samples/index.html\n"
    "asid report --catalogue ~/music.asid --output ~/confirmed --verdict confirmed\n"
    "asid report --catalogue ~/music.asid --output ~/samples --min-score 0.8 --set report.sound_mb=1000",
    options,
    work,
)
