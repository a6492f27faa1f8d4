"""asid status: what is in a catalogue, and what is left to do."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
from typing import TYPE_CHECKING

from jobs import command
from jobs.command import Outcome, Session, Verb

if TYPE_CHECKING:
    from pipelines.store.status import Status


def options(parser: argparse.ArgumentParser) -> None:
    command.catalogue_option(parser)
    parser.add_argument("--format", choices=("table", "json"), default="table", help="default: table")


def work(session: Session) -> Outcome:
    from pipelines.store.catalogue import Catalogue
    from pipelines.store.status import status

    uri = session.args.catalogue
    found = status(Catalogue(uri))
    if session.args.format == "json":
        print(json.dumps(dataclasses.asdict(found), indent=1, ensure_ascii=False))
    else:
        print("\n".join(f"{name:<14}{text}" for name, text in lines(found)))
    counts = f"{found.tracks} tracks, {found.audio_s / 3600:.2f} h audio; next: {next_step(found, uri)}"
    return Outcome(counts, to_stderr=session.args.format == "json")


def lines(found: Status) -> list[tuple[str, str]]:
    """Name and value of each line."""
    result = [
        ("tracks", f"{found.tracks:,} ({found.audio_s / 3600:.2f} h audio, {found.segments:,} segments)"),
        ("rejects", f"{found.rejects:,}" + (" (asid rejects tells why)" if found.rejects else "")),
    ]
    for model in found.models:
        text = f"model {model.model_id}: {model.fingerprints:,} of {model.tracks:,} tracks"
        text += f", {model.to_do:,} tracks to do" if model.to_do else ""
        text += f", {model.stale:,} tracks out of date" if model.stale else ""
        result.append(("fingerprints", text))
    for sweep in found.sweeps:
        text = f"{sweep['sweep_id']}: {sweep.get('detections', 0):,} pairs verified"
        if sweep is found.sweeps[-1]:
            shown = [f"{n:,} {kind}{'' if n == 1 else 's'}" for kind, n in sorted(found.found.items(), reverse=True)]
            text += f", reported: {', '.join(shown) or 'none'}"
            text += f"; {found.unswept:,} tracks not swept yet" if found.unswept else ""
        result.append(("sweep", text))
    for sweep_id, parts in found.unfinished.items():
        result.append(("unfinished", f"sweep {sweep_id}: {parts:,} parts done; the command that began it goes on"))
    if found.last_run:
        result.append(("last run", f"{found.last_run['run_id']}: {found.last_run.get('outcome', '?')}"))
    if found.at_work:
        held = found.at_work
        result.append(("at work", f"asid {held['verb']}, process {held['pid']} on {held['host']}"))
    return result


def next_step(found: Status, uri: str) -> str:
    """The command that brings the catalogue further."""
    at = f"--catalogue {shlex.quote(uri)}"
    if not found.tracks:
        return f"asid run --corpus URI {at}"
    # of several models the one that is furthest: an earlier one may have been given up
    if not found.models or min(model.to_do + model.stale for model in found.models):
        return f"asid embed {at}"
    if not found.sweeps:
        return f"asid sweep {at}"
    if found.unswept:
        return f"asid sweep {at} --new-only"
    return f"asid report {at} --output DIR"


VERB = Verb(
    "status",
    "What is in a catalogue, and what is left to do.",
    "asid status --catalogue ~/music.asid\nasid status --catalogue s3://music/catalogue --format json",
    options,
    work,
)
