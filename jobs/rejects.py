"""asid rejects: list the files that could not be read, and why."""

from __future__ import annotations

import argparse

from jobs import command, tables
from jobs.command import Outcome, Session, Verb

COLUMNS = {name: (name.replace("_", " "), tables.plain) for name in ("track_id", "stage", "error_type", "error")}


def options(parser: argparse.ArgumentParser) -> None:
    command.catalogue_option(parser)
    command.format_option(parser)


def work(session: Session) -> Outcome:
    from pipelines.store.catalogue import Catalogue

    rejects = Catalogue(session.args.catalogue).rejects().sort_by("track_id")
    command.show(rejects, COLUMNS, session.args.format)
    counts: dict[str, int] = {}
    for kind in rejects.column("error_type").to_pylist():
        counts[kind] = counts.get(kind, 0) + 1
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items(), key=lambda item: -item[1]))
    summary = tables.counted(rejects.num_rows, "reject") + (f": {kinds}" if kinds else "")
    return Outcome(summary, to_stderr=session.args.format != "table")


VERB = Verb(
    "rejects",
    "List the files that could not be read, and why.",
    "asid rejects --catalogue ~/music.asid\nasid rejects --catalogue ~/music.asid --format csv > rejects.csv",
    options,
    work,
)
