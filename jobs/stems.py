"""asid stems: music becomes training tables of stems."""

from __future__ import annotations

import argparse

from jobs import command
from jobs.command import Outcome, Session, Verb


def options(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--multitrack", metavar="URI", help="one folder a track, one file a stem in it")
    source.add_argument("--corpus", metavar="URI|MANIFEST", help="mixes: taken whole, or separated with --separate")
    source.add_argument("--midi", metavar="URI", help="MIDI files, rendered with FluidSynth")
    parser.add_argument(
        "--separate",
        choices=("demucs", "hpss"),
        help="the mixes of --corpus: into four stems by a network, or into drums and melody by median filters (fast)",
    )
    parser.add_argument("--output", metavar="URI", required=True, help="where the tables go; run again to add to them")
    command.rejects_option(parser)


def work(session: Session) -> Outcome:
    from pipelines.runtime import start_ray
    from pipelines.train.stems import Kind, stems

    args = session.args
    if args.separate and not args.corpus:
        return Outcome("asid stems: --separate goes with --corpus", command.USAGE, to_stderr=True)
    separated: dict[str | None, Kind] = {None: "mix", "demucs": "separate", "hpss": "hpss"}
    kind: Kind = "stems" if args.multitrack else "midi" if args.midi else separated[args.separate]
    source = args.multitrack or args.midi or args.corpus
    start_ray(args.ray_address)
    found = stems(source, kind, args.output, session.config, session.progress)
    parts = [f"{found.tracks:,} tracks in {found.spans:,} spans" if found.tracks else "no new tracks"]
    parts += [f"{found.already:,} unchanged"] if found.already else []
    parts += [f"{found.rejects:,} rejects (see stems.json)"] if found.rejects else []
    listed = found.tracks + found.already + found.rejects
    if not listed:
        raise command.Failure(f"no music in {source}: is it the right folder?")
    code = command.FAILED if found.rejects / listed > args.max_rejects else command.DONE
    return Outcome(session.summary(", ".join(parts), found.audio_s), code)


VERB = Verb(
    "stems",
    "Make training tables from folders of stems, mixes or MIDI.",
    "asid stems --multitrack ~/stems --output ~/training/stems\n"
    "asid stems --corpus ~/Music --output ~/training/stems\n"
    "asid stems --midi ~/MIDI --output ~/training/stems",
    options,
    work,
)
