"""asid segment: read a corpus into segment tables, and record tracks and rejects."""

from __future__ import annotations

import argparse
import logging
from typing import TYPE_CHECKING

from jobs import command, logs, tables
from jobs.command import Outcome, Session, Verb

if TYPE_CHECKING:
    from pipelines.ingest.segment import SegmentSummary


SHOWN_KINDS = 12  # kinds of skipped files that are listed


def options(parser: argparse.ArgumentParser) -> None:
    command.corpus_option(parser)
    command.catalogue_option(parser)
    command.rejects_option(parser)


def work(session: Session) -> Outcome:
    from pipelines.ingest.segment import segment
    from pipelines.runtime import start_ray
    from pipelines.store.catalogue import Catalogue

    catalogue = Catalogue(session.args.catalogue, create=True, geometry=session.config.segment)
    start_ray(session.args.ray_address)
    summary = segment(session.args.corpus, catalogue, session.config, session.progress)
    return Outcome(session.summary(counts(summary), summary.audio_s), exit_code(session, summary))


def counts(summary: SegmentSummary) -> str:
    """A summary of what happened to the files, starting with the number of new tracks."""
    parts = [f"{tables.counted(summary.tracks, 'track')} segmented" if summary.tracks else "no new tracks"]
    parts += [f"{summary.already:,} unchanged"] if summary.already else []
    parts += [f"{summary.refreshed:,} moved or retitled"] if summary.refreshed else []
    return ", ".join([*parts, *rejected(summary), *losses(summary)])


def rejected(summary: SegmentSummary) -> list[str]:
    """The number of rejects as a phrase for the summary; empty if there are none."""
    count = summary.rejects + summary.rejected_before
    return [f"{tables.counted(count, 'reject')} ({summary.rejects:,} of them new)"] if count else []


def losses(summary: SegmentSummary) -> list[str]:
    """Phrases for the summary: tracks cut short, years left empty, and files skipped because of their kind."""
    short = f"{tables.counted(summary.shortened, 'track')} shortened (at least {summary.missing_s:.1f} s missing)"
    parts = [short] if summary.shortened else []
    parts += [f"{tables.counted(summary.empty_years, 'year')} left empty"] if summary.empty_years else []
    if summary.skipped:
        most = sorted(summary.skipped.items(), key=lambda item: (-item[1], item[0]))
        kinds = [f"{count:,} {name or 'without extension'}" for name, count in most[:SHOWN_KINDS]]
        rest = sum(count for _, count in most[SHOWN_KINDS:])
        kinds += [f"{rest:,} of {len(most) - SHOWN_KINDS} other kinds"] if rest else []
        parts.append(f"{tables.counted(sum(summary.skipped.values()), 'other file')} skipped ({', '.join(kinds)})")
    return parts


def exit_code(session: Session, summary: SegmentSummary) -> int:
    """FAILED, with a message, if no file was listed or more are rejects than `--max-rejects` allows."""
    allowed: float = session.args.max_rejects
    if summary.listed and summary.reject_share <= allowed:
        return command.DONE
    if not summary.listed:
        problem = f"no recordings in {session.args.corpus}. Is this the right folder or manifest?"
    else:
        problem = (
            f"{summary.reject_share:.1%} of the files are rejects; --max-rejects allows {allowed:.1%}. "
            f"To see why, run: asid rejects --catalogue {session.args.catalogue}"
        )
    logs.tell(f"asid {session.args.verb}: {problem}", logging.ERROR)
    return command.FAILED


VERB = Verb(
    "segment",
    "Read a corpus into segment tables; files that cannot be read become rejects.",
    "asid segment --corpus ~/Music --catalogue ~/music.asid\n"
    "asid segment --corpus tracks.csv --catalogue ~/music.asid --max-rejects 0.2",
    options,
    work,
    uses_ray=True,
)
