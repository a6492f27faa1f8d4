"""asid reindex: bring a catalogue up to date with its corpus. Safe to run on a schedule."""

from __future__ import annotations

import argparse

from jobs import command, segment, sweep, tables
from jobs.command import Outcome, Session, Verb


def options(parser: argparse.ArgumentParser) -> None:
    command.corpus_option(parser)
    command.catalogue_option(parser)
    command.rejects_option(parser)
    command.gpus_option(parser)
    parser.add_argument(
        "--max-removed",
        metavar="SHARE",
        type=command.share,
        default=0.5,
        help="stop if more than this share of the tracks is gone from the corpus, as when a disk is not mounted "
        "(default 0.5)",
    )
    parser.add_argument(
        "--export", metavar="F", type=tables.export_path, help="write all places to a .csv, .json or .parquet file"
    )
    command.format_option(parser)


def work(session: Session) -> Outcome:
    from pipelines.reindex import reindex
    from pipelines.runtime import start_ray
    from pipelines.store.catalogue import Catalogue

    args = session.args
    catalogue = Catalogue(args.catalogue, create=True, geometry=session.config.segment)
    start_ray(args.ray_address)
    result = reindex(
        args.corpus,
        catalogue,
        session.config,
        session.weights(),
        max_removed=args.max_removed,
        progress=session.progress,
        gpus=args.gpus,
    )
    if result.swept is not None:
        sweep.show(session, catalogue, result.swept.detections)
    code = segment.exit_code(session, result.segmented)
    counts = ", ".join([str(result), *segment.rejected(result.segmented), *segment.losses(result.segmented)])
    summary = session.summary(counts, result.segmented.audio_s)
    return Outcome(summary, code, to_stderr=args.format != "table")


VERB = Verb(
    "reindex",
    "Bring a catalogue up to date with new, changed, removed and renamed files.",
    "asid reindex --corpus ~/Music --catalogue ~/music.asid\n"
    "asid reindex --corpus s3://music/all --catalogue s3://music/catalogue --max-removed 0.1",
    options,
    work,
    uses_ray=True,
)
