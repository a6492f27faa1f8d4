"""asid compare: find what two recordings share, without a catalogue."""

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
    parser.add_argument("query", metavar="A", help="the recording that may sample the other")
    parser.add_argument("reference", metavar="B", help="the recording that may be sampled")
    parser.add_argument("--format", choices=("table", "json"), default="table", help="default: table")


def work(session: Session) -> Outcome:
    from asid_core.matching.two_files import identify

    args = session.args
    match = identify(args.query, args.reference, session.weights())
    if args.format == "json":
        print(json.dumps(dataclasses.asdict(match) if match else None, indent=1, ensure_ascii=False))
    elif match:
        rows = [place.row() for place in match.places]
        relations.show_places(rows, {args.reference: args.reference})
    return Outcome(session.summary(describe(match)), to_stderr=args.format != "table")


def describe(match: TwoFiles | None) -> str:
    """The relation between the two files in one line, for the summary."""
    if match is None:
        return "nothing in common found"
    places = f"{len(match.places)} place{'' if len(match.places) == 1 else 's'}, {tables.clock_s(match.query_s)} of A"
    if match.kind == "duplicate":
        return f"near-duplicates: {places}"
    direction = "" if match.query_samples is None else f"; A samples B: {100 * match.query_samples:.0f} %"
    return f"score {match.score:.2f}, {places}{direction}"


VERB = Verb(
    "compare",
    "Find what two recordings share; needs no catalogue.",
    "asid compare beat.wav record.flac\nasid compare beat.wav record.flac --format json",
    options,
    work,
)
