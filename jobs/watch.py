"""asid watch: keeps a catalogue up to date with its corpus, for as long as it runs."""

from __future__ import annotations

import argparse
import logging

from asid_core.plain_text import shown
from jobs import logs, reindex
from jobs.command import Outcome, Session, Verb


def seconds(text: str) -> float:
    """A time above 0, for argparse."""
    value = float(text)
    if not 0 < value < float("inf"):  # nor is NaN
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds above 0")
    return value


def options(parser: argparse.ArgumentParser) -> None:
    reindex.options(parser)
    parser.add_argument(
        "--every",
        metavar="S",
        type=seconds,
        default=3600.0,
        help="check at least every S seconds (default 3600), since buckets and manifests do not report changes",
    )
    parser.add_argument(
        "--settle",
        metavar="S",
        type=seconds,
        default=10.0,
        help="begin when nothing has changed for S seconds (default 10)",
    )


def work(session: Session) -> Outcome:
    from pipelines.ingest.watching import changes
    from pipelines.store.location import Location

    args = session.args
    for _ in changes(Location(args.corpus), Location(args.catalogue), args.every, args.settle):
        _once(session)
    return Outcome("")


def _once(session: Session) -> None:
    """Bring the catalogue up to date; what goes wrong is said, and tried again with the next change."""
    from pipelines.runtime import stop_ray
    from pipelines.store.errors import CatalogueError, StorageError

    try:
        outcome = reindex.work(Session(session.args, session.config, session.progress))
        if outcome.to_stderr:
            logs.tell(outcome.summary)
        else:
            print(outcome.summary, flush=True)
    except (CatalogueError, StorageError, OSError) as error:
        logs.tell(f"asid watch: {shown(' '.join(str(error).split()))}; trying again later", logging.WARNING)
    finally:
        stop_ray()  # between changes it needs no memory and no cores


VERB = Verb(
    "watch",
    "Keep a catalogue up to date: reindex whenever files come, change or go.",
    "asid watch --corpus ~/Music --catalogue ~/music.asid\n"
    "asid watch --corpus s3://music/all --catalogue s3://music/catalogue --every 900",
    options,
    work,
)
