"""asid embed: compute the fingerprints of all segments."""

from __future__ import annotations

import argparse

from jobs import command
from jobs.command import Outcome, Session, Verb


def options(parser: argparse.ArgumentParser) -> None:
    command.catalogue_option(parser)
    command.gpus_option(parser)


def work(session: Session) -> Outcome:
    from pipelines.fingerprint.embed import embed
    from pipelines.runtime import start_ray
    from pipelines.store.catalogue import Catalogue

    catalogue = Catalogue(session.args.catalogue)
    start_ray(session.args.ray_address)
    summary = embed(catalogue, session.config, session.weights(), session.progress, session.args.gpus)
    return Outcome(session.summary(str(summary), summary.audio_s))


VERB = Verb(
    "embed",
    "Compute fingerprints of the tracks that have none yet.",
    "asid embed --catalogue ~/music.asid\nasid embed --catalogue ~/music.asid --config gnn-paper",
    options,
    work,
    uses_ray=True,
)
