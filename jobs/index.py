"""asid index: build or refresh the vector index, and measure it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from jobs import command
from jobs.command import Outcome, Session, Verb


def options(parser: argparse.ArgumentParser) -> None:
    command.catalogue_option(parser)


def work(session: Session) -> Outcome:
    from pipelines.runtime import start_ray
    from pipelines.search.index import index
    from pipelines.store.catalogue import Catalogue
    from pipelines.store.lease import Lease

    catalogue = Catalogue(session.args.catalogue)
    start_ray(session.args.ray_address)
    with Lease(catalogue, "index"):
        found = index(catalogue, session.config, session.progress)
    return Outcome(session.summary(str(found)))


VERB = Verb(
    "index",
    "Build or refresh the vector index; prints its recall against exact search.",
    "asid index --catalogue ~/music.asid",
    options,
    work,
)


def main(argv: Sequence[str] | None = None) -> int:
    return command.main(VERB, argv)


if __name__ == "__main__":
    sys.exit(main())
