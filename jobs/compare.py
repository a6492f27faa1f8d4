"""asid compare: what do two recordings share? Needs no catalogue."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import TYPE_CHECKING

from jobs import relations, tables
from jobs.command import Outcome, Session, Verb

if TYPE_CHECKING:
    from asid_core.matching.two_files import TwoFiles


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("query", metavar="A", help="the recording that perhaps samples the other")
    parser.add_argument("reference", metavar="B", help="the recording that perhaps is sampled")
    parser.add_argument("--format", choices=("table", "json"), default="table", help="default: table")


def work(session: Session) -> Outcome:
    from asid_core.matching.two_files import identify

    args = session.args
    found = identify(args.query, args.reference, session.weights())
    if args.format == "json":
        print(json.dumps(dataclasses.asdict(found) if found else None, indent=1, ensure_ascii=False))
    elif found:
        rows = [place.row() for place in found.places]
        relations.show_places(rows, {args.reference: args.reference})
    return Outcome(session.summary(describe(found)), to_stderr=args.format != "table")


def describe(found: TwoFiles | None) -> str:
    """The relation in a few words."""
    if found is None:
        return "nothing shared was found"
    places = f"{len(found.places)} place{'' if len(found.places) == 1 else 's'}, {tables.clock_s(found.query_s)} of A"
    if found.kind == "duplicate":
        return f"near-duplicates: {places}"
    sure = "" if found.query_samples is None else f"; A samples B: {100 * found.query_samples:.0f} %"
    return f"score {found.score:.2f}, {places}{sure}"


VERB = Verb(
    "compare",
    "What two recordings share; needs no catalogue.",
    "asid compare beat.wav record.flac\nasid compare beat.wav record.flac --format json",
    options,
    work,
)
