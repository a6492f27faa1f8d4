"""asid index: build or refresh the vector index, and measure its recall."""

from __future__ import annotations

import argparse

from jobs import command
from jobs.command import Outcome, Session, Verb


def options(parser: argparse.ArgumentParser) -> None:
    command.catalogue_option(parser)


def work(session: Session) -> Outcome:
    from pipelines.runtime import start_ray
    from pipelines.search.index import index
    from pipelines.store.catalogue import Catalogue

    catalogue = Catalogue(session.args.catalogue)
    start_ray(session.args.ray_address)
    summary = index(catalogue, session.config, session.progress)
    return Outcome(session.summary(str(summary)))


VERB = Verb(
    "index",
    "Build or refresh the vector index; prints its recall against exact search.",
    "asid index --catalogue ~/music.asid",
    options,
    work,
    uses_ray=True,
)
