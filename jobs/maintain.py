"""asid maintain: tag and restore states of a catalogue, drop a model, bring an older catalogue up to date."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from jobs import command, tables
from jobs.command import Outcome, Session, Verb

if TYPE_CHECKING:
    from pipelines.store.catalogue import Catalogue

HELP = (
    "tag NAME: keep the present state under a name; tags: list the tags; untag NAME: remove a tag; "
    "restore NAME: bring a tagged state back; drop-model ID: delete the fingerprints and sweeps of a model that "
    "is no longer used; migrate: convert a catalogue of an older asid to the present format"
)

COLUMNS: dict[str, tuple[str, tables.Cell]] = {
    name: (name, tables.plain) for name in ("tag", "created", "tables", "sweeps")
}


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=(*NAMED, "tags", *OTHERS), help=HELP)
    parser.add_argument("name", metavar="NAME", nargs="?", help="of the tag, or the model id that asid status shows")
    command.catalogue_option(parser)
    command.format_option(parser)


def work(session: Session) -> Outcome:
    from pipelines.store.catalogue import Catalogue

    args = session.args
    if (args.what in NAMED) != (args.name is not None):
        problem = "needs a NAME" if args.what in NAMED else "takes no NAME"
        return Outcome(f"asid maintain: {args.what} {problem}", command.USAGE, to_stderr=True)
    catalogue = Catalogue(args.catalogue)
    if args.what == "tags":
        return Outcome(_list(catalogue, args.format), to_stderr=args.format != "table")
    with catalogue.writing("maintain"):
        done = NAMED[args.what](catalogue, args.name) if args.name else OTHERS[args.what](catalogue)
    return Outcome(session.summary(done))


def _tag(catalogue: Catalogue, name: str) -> str:
    from pipelines.store import tags

    tag = tags.create(catalogue, name)
    return f"tag {name} keeps {len(tag['tables'])} tables and {len(tag['sweeps'])} sweeps"


def _untag(catalogue: Catalogue, name: str) -> str:
    from pipelines.store import tags

    tags.remove(catalogue, name)
    return f"tag {name} removed; asid reindex deletes what only it kept"


def _restore(catalogue: Catalogue, name: str) -> str:
    from pipelines.store import tags

    tag = tags.restore(catalogue, name)
    return f"restored to tag {name} of {tag['created']}: {catalogue.count_tracks():,} tracks"


def _drop_model(catalogue: Catalogue, name: str) -> str:
    from pipelines.store.models import drop_model

    deleted, sweeps = drop_model(catalogue, name)
    return f"model {name} dropped: {deleted / 1e9:.2f} GB of fingerprints, {sweeps} sweeps"


def _migrate(catalogue: Catalogue) -> str:
    before, now = catalogue.migrate(), catalogue.geometry.format
    return f"format {now}, as before" if before == now else f"migrated from format {before} to {now}"


def _list(catalogue: Catalogue, format: str) -> str:
    from pipelines.store import tags

    found = tags.all_tags(catalogue)
    rows = [{**tag, "tables": len(tag["tables"]), "sweeps": len(tag["sweeps"])} for tag in found]
    if format != "table":
        command.show_rows([{name: row[name] for name in COLUMNS} for row in rows], format)
    elif rows:
        print(tables.aligned(rows, COLUMNS))
    return tables.counted(len(found), "tag")


NAMED: dict[str, Callable[[Catalogue, str], str]] = {
    "tag": _tag,
    "untag": _untag,
    "restore": _restore,
    "drop-model": _drop_model,
}
OTHERS: dict[str, Callable[[Catalogue], str]] = {"migrate": _migrate}

VERB = Verb(
    "maintain",
    "Tag and restore states of a catalogue, drop a model, migrate an older catalogue.",
    "asid maintain tag before-upgrade --catalogue s3://music/catalogue\n"
    "asid maintain drop-model 1f0c93a7b2d4 --catalogue ~/music.asid",
    options,
    work,
)
