"""asid report: the newest sweep's findings as a page to look at and listen to."""

from __future__ import annotations

import argparse

from jobs import command
from jobs.command import Outcome, Session, Verb


def options(parser: argparse.ArgumentParser) -> None:
    command.catalogue_option(parser)
    parser.add_argument("--output", metavar="DIR", required=True, help="where the page goes: a folder or s3:// prefix")
    command.score_option(parser)
    parser.add_argument(
        "--verdict",
        choices=("confirmed", "unsure", "not a sample", "none"),
        action="append",
        help="only relations with this verdict, on the page and in the exports; none: nobody gave one. May be repeated",
    )


def work(session: Session) -> Outcome:
    from pipelines.report.page import report
    from pipelines.store.catalogue import Catalogue
    from pipelines.store.location import Location

    catalogue = Catalogue(session.args.catalogue)
    args = session.args
    found = report(catalogue, Location(args.output), session.config, args.min_score, session.progress, args.verdict)
    counts = f"{found.samples:,} pairs with samples and {found.duplicates:,} near-duplicates, {found.places:,} places"
    counts += f" (the best of {found.found:,})" if found.places < found.found else ""
    return Outcome(session.summary(f"{found.page}: {counts}, {found.snippets:,} snippets to play"))


VERB = Verb(
    "report",
    "A page of the findings to look at and listen to, and exports for other tools.",
    "asid report --catalogue ~/music.asid --output ~/samples      # then open ~/samples/index.html\n"
    "asid report --catalogue ~/music.asid --output ~/confirmed --verdict confirmed\n"
    "asid report --catalogue ~/music.asid --output ~/samples --min-score 0.8 --set report.snippets=1000",
    options,
    work,
)
