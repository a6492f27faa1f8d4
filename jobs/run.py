"""asid run: the main job. Segment, embed, index, sweep; each does only what is left to do."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jobs import command, segment, sweep
from jobs.command import Outcome, Session, Verb

if TYPE_CHECKING:
    from pipelines.ingest.segment import SegmentSummary
    from pipelines.search.sweep import SweepSummary
    from pipelines.store.catalogue import Catalogue


def options(parser: argparse.ArgumentParser) -> None:
    command.corpus_option(parser)
    sweep.options(parser)
    command.rejects_option(parser)


def work(session: Session) -> Outcome:
    from pipelines.runtime import start_ray
    from pipelines.store.catalogue import Catalogue
    from pipelines.store.lease import Lease

    args = session.args
    catalogue = Catalogue(args.catalogue, create=True, geometry=session.config.segment)
    start_ray(args.ray_address)
    with Lease(catalogue, "run"):
        segmented, swept = main_job(session, args.corpus, catalogue)
    counts = f"{segment.counts(segmented)}, {sweep.show(session, catalogue, swept.detections)}"
    code = segment.exit_code(session, segmented)
    return Outcome(session.summary(counts, segmented.audio_s), code, to_stderr=args.format != "table")


def main_job(session: Session, corpus: str, catalogue: Catalogue) -> tuple[SegmentSummary, SweepSummary]:
    """The four stages in order."""
    from pipelines.fingerprint import embed
    from pipelines.ingest import segment as segmenting
    from pipelines.search import index

    config = session.config
    segmented = segmenting.segment(corpus, catalogue, config, session.progress)
    embed.embed(catalogue, config, session.weights(), session.progress)
    index.index(catalogue, config, session.progress)
    return segmented, sweep.as_asked(session, catalogue)


VERB = Verb(
    "run",
    "The main job: segment, embed, index and sweep a corpus.",
    "asid run --corpus ~/Music --catalogue ~/music.asid --export places.csv\n"
    "asid run --corpus tracks.csv --catalogue ~/music.asid      # a manifest: uri, and title, artist, year\n"
    "asid run --corpus s3://music/all --catalogue s3://music/catalogue --ray-address auto",
    options,
    work,
)


def main(argv: Sequence[str] | None = None) -> int:
    return command.main(VERB, argv)


if __name__ == "__main__":
    sys.exit(main())
