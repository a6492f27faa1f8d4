"""asid run: segment, embed, index and sweep a corpus. Each stage does only what is left to do."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from jobs import command, segment, sweep
from jobs.command import Outcome, Session, Verb

if TYPE_CHECKING:
    from pipelines.run import RunSummary
    from pipelines.store.catalogue import Catalogue


def options(parser: argparse.ArgumentParser) -> None:
    command.corpus_option(parser)
    sweep.options(parser)
    command.rejects_option(parser)
    command.gpus_option(parser)


def work(session: Session) -> Outcome:
    from pipelines.runtime import start_ray
    from pipelines.store.catalogue import Catalogue

    args = session.args
    catalogue = Catalogue(args.catalogue, create=True, geometry=session.config.segment)
    start_ray(args.ray_address)
    done = main_job(session, args.corpus, catalogue, args.gpus)
    counts = f"{segment.counts(done.segmented)}, {sweep.show(session, catalogue, done.swept.detections)}"
    code = segment.exit_code(session, done.segmented)
    return Outcome(session.summary(counts, done.segmented.audio_s), code, to_stderr=args.format != "table")


def main_job(session: Session, corpus: str, catalogue: Catalogue, gpus: int | None = None) -> RunSummary:
    """Run the four stages in order, with the options of this verb."""
    from pipelines.run import run

    args = session.args
    return run(
        corpus,
        catalogue,
        session.config,
        session.weights(),
        progress=session.progress,
        gpus=gpus,
        **sweep.chosen(args),
    )


VERB = Verb(
    "run",
    "Find every sample in a corpus: segment, embed, index and sweep it.",
    "asid run --corpus ~/Music --catalogue ~/music.asid --export places.csv\n"
    "asid run --corpus tracks.csv --catalogue ~/music.asid      # a manifest with uri, title, artist, year\n"
    "asid run --corpus s3://music/all --catalogue s3://music/catalogue --ray-address auto",
    options,
    work,
    uses_ray=True,
)
