"""asid segment: a corpus becomes segment tables, tracks and rejects."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from jobs import command
from jobs.command import Outcome, Session, Verb

if TYPE_CHECKING:
    from pipelines.ingest.segment import SegmentSummary


SHOWN_KINDS = 12


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
    found = segment(session.args.corpus, catalogue, session.config, session.progress)
    return Outcome(session.summary(counts(found), found.audio_s), exit_code(session, found))


def counts(found: SegmentSummary) -> str:
    """What happened to the files, in words; nothing new is said first."""
    parts = [f"{found.tracks:,} tracks segmented" if found.tracks else "no new tracks"]
    parts += [f"{found.already:,} unchanged"] if found.already else []
    parts += [f"{found.refreshed:,} moved or retitled"] if found.refreshed else []
    return ", ".join([*parts, *refused(found), *losses(found)])


def refused(found: SegmentSummary) -> list[str]:
    """How many files are rejects, where there are any."""
    count = found.rejects + found.rejected_before
    return [f"{count:,} rejects ({found.rejects:,} of them new)"] if count else []


def losses(found: SegmentSummary) -> list[str]:
    """What was not taken as it is, with counts; with tracks and rejects it adds up to all that was listed."""
    parts = [f"{found.shortened:,} of them shortened ({found.missing_s:.1f} s missing)"] if found.shortened else []
    parts += [f"{found.empty_years:,} years left empty"] if found.empty_years else []
    if found.skipped:
        most = sorted(found.skipped.items(), key=lambda item: (-item[1], item[0]))
        kinds = [f"{count:,} {name or 'without ending'}" for name, count in most[:SHOWN_KINDS]]
        rest = sum(count for _, count in most[SHOWN_KINDS:])
        kinds += [f"{rest:,} of {len(most) - SHOWN_KINDS} other kinds"] if rest else []
        parts.append(f"{sum(found.skipped.values()):,} other files skipped ({', '.join(kinds)})")
    return parts


def exit_code(session: Session, found: SegmentSummary) -> int:
    """FAILED, with a line that says so, where more of the corpus is refused than `--max-rejects` allows."""
    allowed: float = session.args.max_rejects
    if found.listed and found.reject_share <= allowed:
        return command.DONE
    if not found.listed:
        problem = f"no recordings in {session.args.corpus}: is it the right folder or manifest?"
    else:
        problem = (
            f"{found.reject_share:.1%} of the files are rejects, --max-rejects allows {allowed:.1%}; "
            f"asid rejects --catalogue {session.args.catalogue} tells why"
        )
    print(f"asid {session.args.verb}: {problem}", file=sys.stderr)
    return command.FAILED


VERB = Verb(
    "segment",
    "Read a corpus into segment tables; what cannot be read becomes a reject.",
    "asid segment --corpus ~/Music --catalogue ~/music.asid\n"
    "asid segment --corpus tracks.csv --catalogue ~/music.asid --max-rejects 0.2",
    options,
    work,
)
