"""asid status: show what a catalogue holds, and what is left to do."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
from typing import TYPE_CHECKING

from jobs import command, tables
from jobs.command import Outcome, Session, Verb

if TYPE_CHECKING:
    from pipelines.store.status import Status


def options(parser: argparse.ArgumentParser) -> None:
    command.catalogue_option(parser)
    command.format_option(parser)


def work(session: Session) -> Outcome:
    from pipelines.store.catalogue import Catalogue
    from pipelines.store.status import status

    uri = session.args.catalogue
    state = status(Catalogue(uri))
    if session.args.format == "json":
        print(json.dumps(dataclasses.asdict(state), indent=1, ensure_ascii=False))
    elif session.args.format == "csv":
        command.show_rows([{"name": name, "value": text} for name, text in lines(state)], "csv")
    else:
        print("\n".join(f"{name:<14}{text}" for name, text in lines(state)))
    counts = f"{state.tracks} tracks, {state.audio_s / 3600:.2f} h audio; next: {next_step(state, uri)}"
    return Outcome(counts, to_stderr=session.args.format != "table")


def lines(state: Status) -> list[tuple[str, str]]:
    """The printed lines: name and value."""
    result = [
        ("tracks", f"{state.tracks:,} ({state.audio_s / 3600:.2f} h audio, {state.segments:,} segments)"),
        ("rejects", f"{state.rejects:,}" + (" (asid rejects shows why)" if state.rejects else "")),
    ]
    if state.not_raised:
        text = f"{state.not_raised:,} from an older asid, too soft to match: asid run or reindex reads them again"
        result.append(("soft tracks", text))
    for model in state.models:
        text = f"model {model.model_id}: {model.fingerprints:,} of {model.tracks:,} tracks"
        text += f", {model.to_do:,} tracks to do" if model.to_do else ""
        text += f", {model.stale:,} tracks out of date" if model.stale else ""
        result.append(("fingerprints", text))
    for sweep in state.sweeps:
        text = f"{sweep['sweep_id']}: {sweep.get('detections', 0):,} pairs verified"
        if sweep is state.sweeps[-1]:
            shown = [tables.counted(n, kind) for kind, n in sorted(state.found.items(), reverse=True)]
            text += f", reported: {', '.join(shown) or 'none'}"
            text += f"; {state.unswept:,} tracks not swept yet" if state.unswept else ""
        result.append(("sweep", text))
    for sweep_id, parts in state.unfinished.items():
        result.append(("unfinished", f"sweep {sweep_id}: {parts:,} parts done; run the same command to resume"))
    if state.last_run:
        result.append(("last run", f"{state.last_run['run_id']}: {state.last_run.get('outcome', '?')}"))
    if state.at_work:
        held = state.at_work
        result.append(("running", f"asid {held['verb']}, process {held['pid']} on {held['host']}"))
    return result


def next_step(state: Status, uri: str) -> str:
    """The command to run next."""
    at = f"--catalogue {shlex.quote(uri)}"
    if not state.tracks:
        return f"asid run --corpus URI {at}"
    # if any model is complete, embedding is done: others may have been abandoned
    if not state.models or min(model.to_do + model.stale for model in state.models):
        return f"asid embed {at}"
    if not state.sweeps:
        return f"asid sweep {at}"
    if state.unswept:
        return f"asid sweep {at} --new-only"
    return f"asid report {at} --output DIR"


VERB = Verb(
    "status",
    "Show what a catalogue holds, and what is left to do.",
    "asid status --catalogue ~/music.asid\nasid status --catalogue s3://music/catalogue --format json",
    options,
    work,
)
