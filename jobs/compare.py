"""asid compare: find what two recordings share, without a catalogue."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from typing import TYPE_CHECKING

from jobs import command, relations, tables
from jobs.command import Outcome, Session, Verb

if TYPE_CHECKING:
    from asid_core.matching.two_files import TwoFiles


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("query", metavar="A", help="the recording that may sample the other")
    parser.add_argument("reference", metavar="B", help="the recording that may be sampled")
    command.format_option(parser)


def work(session: Session) -> Outcome:
    # read when torch is loaded: threads that spin while they wait are slow on a busy machine
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from asid_core.matching.two_files import identify

    args = session.args
    match = identify(args.query, args.reference, session.weights())
    if args.format == "json":
        print(json.dumps(dataclasses.asdict(match) if match else None, indent=1, ensure_ascii=False))
    elif args.format == "csv":
        import pyarrow as pa

        from asid_core.schema import DETECTIONS

        rows = [place.row() for place in match.places] if match else []
        print(tables.encode(pa.Table.from_pylist(rows, schema=DETECTIONS), "csv").decode(), end="")
    elif match:
        relations.show_places([place.row() for place in match.places], {args.reference: args.reference})
    return Outcome(session.summary(describe(match)), to_stderr=args.format != "table")


def describe(match: TwoFiles | None) -> str:
    """The relation between the two files in one line, for the summary."""
    if match is None:
        return "nothing in common found"
    places = f"{tables.counted(len(match.places), 'place')}, {tables.clock_s(match.query_s)} of A"
    if match.kind == "duplicate":
        return f"near-duplicates: {places}"
    return f"score {match.score:.2f}, {places}{_direction(match.query_samples)}"


def _direction(query_samples: float | None) -> str:
    """The more probable direction, for the summary."""
    if query_samples is None:
        return ""
    who = "A samples B" if query_samples >= 0.5 else "B samples A"
    return f"; {who}: {100 * max(query_samples, 1 - query_samples):.0f} %"


VERB = Verb(
    "compare",
    "Find what two recordings share; needs no catalogue.",
    "asid compare beat.wav record.flac\nasid compare beat.wav record.flac --format json",
    options,
    work,
)
