"""asid status: what is in a catalogue, and what is left to do."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jobs import command
from jobs.command import Outcome, Session, Verb

if TYPE_CHECKING:
    from pipelines.status import Status


def options(parser: argparse.ArgumentParser) -> None:
    command.catalogue_option(parser)
    parser.add_argument("--format", choices=("table", "json"), default="table", help="default: table")


def work(session: Session) -> Outcome:
    from pipelines.catalogue import Catalogue
    from pipelines.status import status

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
        ("rejects", f"{found.rejects:,}"),
    ]
    for model in found.models:
        text = f"model {model.model_id}: {model.fingerprints:,} of {model.tracks:,} tracks"
        text += f", {model.to_do:,} tracks to do" if model.to_do else ""
        text += f", {model.stale:,} tracks out of date" if model.stale else ""
        result.append(("fingerprints", text))
    for sweep in found.sweeps:
        result.append(("sweep", f"{sweep['sweep_id']}: {sweep.get('detections', '?')} detections"))
    if found.last_run:
        result.append(("last run", f"{found.last_run['run_id']}: {found.last_run.get('outcome', '?')}"))
    return result


def next_step(found: Status, uri: str) -> str:
    """The command that brings the catalogue further."""
    if not found.tracks:
        return f"asid segment --corpus URI --catalogue {uri}"
    if not found.models or any(model.to_do or model.stale for model in found.models):
        return f"asid embed --catalogue {uri}"
    if not found.sweeps:
        return f"asid sweep --catalogue {uri}"
    return f"asid query FILE --catalogue {uri}"


VERB = Verb(
    "status",
    "What is in a catalogue, and what is left to do.",
    "asid status --catalogue ~/music.asid",
    options,
    work,
)


def main(argv: Sequence[str] | None = None) -> int:
    return command.main(VERB, argv)


if __name__ == "__main__":
    sys.exit(main())
