"""asid stems: convert music to training tables of stems."""

from __future__ import annotations

import argparse

from jobs import command
from jobs.command import Outcome, Session, Verb


def options(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--multitrack", metavar="URI", help="one folder per track, with one file per stem")
    source.add_argument("--corpus", metavar="URI|MANIFEST", help="mixes; used whole, or split into stems by --separate")
    source.add_argument("--midi", metavar="URI", help="MIDI files, rendered with FluidSynth")
    parser.add_argument(
        "--separate",
        choices=("demucs", "hpss"),
        help="split the mixes of --corpus: demucs gives four stems (a neural network), hpss gives drums and melody "
        "(median filters, fast)",
    )
    parser.add_argument("--output", metavar="URI", required=True, help="folder for the tables; run again to add more")
    command.rejects_option(parser)


def work(session: Session) -> Outcome:
    from pipelines.runtime import start_ray
    from pipelines.train.stems import Kind, stems

    args = session.args
    if args.separate and not args.corpus:
        return Outcome("asid stems: --separate needs --corpus", command.USAGE, to_stderr=True)
    separated: dict[str | None, Kind] = {None: "mix", "demucs": "separate", "hpss": "hpss"}
    kind: Kind = "stems" if args.multitrack else "midi" if args.midi else separated[args.separate]
    source = args.multitrack or args.midi or args.corpus
    start_ray(args.ray_address)
    summary = stems(source, kind, args.output, session.config, session.progress)
    parts = [f"{summary.tracks:,} tracks in {summary.spans:,} spans" if summary.tracks else "no new tracks"]
    parts += [f"{summary.already:,} unchanged"] if summary.already else []
    parts += [f"{summary.rejects:,} rejects (see stems.json)"] if summary.rejects else []
    listed = summary.tracks + summary.already + summary.rejects
    if not listed:
        raise command.Failure(f"no music in {source}. Is this the right folder?")
    code = command.FAILED if summary.rejects / listed > args.max_rejects else command.DONE
    return Outcome(session.summary(", ".join(parts), summary.audio_s), code)


VERB = Verb(
    "stems",
    "Make training tables from folders of stems, mixes or MIDI.",
    "asid stems --multitrack ~/stems --output ~/training/stems\n"
    "asid stems --corpus ~/Music --output ~/training/stems\n"
    "asid stems --midi ~/MIDI --output ~/training/stems",
    options,
    work,
    uses_ray=True,
)
