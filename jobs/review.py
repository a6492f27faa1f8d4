"""asid review: store the verdicts that somebody gave in a report in the catalogue, and list them."""

from __future__ import annotations

import argparse
import getpass
from typing import TYPE_CHECKING, Any

from asid_core.plain_values import ConfigError
from jobs import command, relations, tables
from jobs.command import Outcome, Session, Verb

if TYPE_CHECKING:
    from pipelines.store.catalogue import Catalogue

COLUMNS: dict[str, tuple[str, tables.Cell]] = {
    "verdict": ("verdict", tables.plain),
    "query": ("track", tables.plain),
    "reference": ("samples", tables.plain),
    "said_by": ("by", tables.plain),
    "said_at": ("on", lambda value: f"{value:%Y-%m-%d}"),
    "note": ("note", lambda value: " ".join(str(value).split())),
}


def options(parser: argparse.ArgumentParser) -> None:
    command.catalogue_option(parser)
    parser.add_argument("files", metavar="VERDICTS.json", nargs="*", help="saved by a report; local or s3://")
    parser.add_argument("--who", metavar="NAME", help="name of the reviewer (default: your user name)")
    parser.add_argument("--list", action="store_true", help="print the verdicts in the catalogue")
    command.format_option(parser)


def work(session: Session) -> Outcome:
    from pipelines.store import verdicts
    from pipelines.store.catalogue import Catalogue
    from pipelines.store.location import Location

    args = session.args
    if not args.files and not args.list:
        raise ConfigError("pass a file of verdicts that a report saved, or --list")
    catalogue = Catalogue(args.catalogue)
    who = args.who or _user()
    added = [row for file in args.files for row in verdicts.parse(Location(file).read_bytes(), who)]
    verdicts.write(catalogue, added)
    known = verdicts.read(catalogue)
    if args.list:
        _list(catalogue, sorted(known.values(), key=lambda row: row["said_at"], reverse=True), args.format)
    counts = f"added {tables.counted(len(added), 'verdict')} by {who}; " if args.files else ""
    return Outcome(
        f"{counts}{tables.counted(len(known), 'verdict')} in {args.catalogue}", to_stderr=args.format != "table"
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # the user of a container may have no name
        return "unknown"


def _list(catalogue: Catalogue, rows: list[dict[str, Any]], format: str) -> None:
    """Print the verdicts: with the names of the tracks as a table, otherwise with all columns of schema.VERDICTS."""
    import pyarrow as pa

    from asid_core.schema import VERDICTS
    from pipelines.report.findings import tracks_of

    table = pa.Table.from_pylist(rows, schema=VERDICTS)
    if format != "table":
        command.show(table, COLUMNS, format)
    elif rows:
        names = relations.names_of(tracks_of(catalogue, table))
        lines = [row | {side: names[row[f"{side}_id"]] for side in ("query", "reference")} for row in rows]
        print(tables.aligned(lines, COLUMNS, relations.terminal_width()))


VERB = Verb(
    "review",
    "Store the verdicts that you gave in a report, and list them.",
    "asid review --catalogue ~/music.asid ~/Downloads/verdicts.json\nasid review --catalogue ~/music.asid --list",
    options,
    work,
)
