"""Measures the quality of every system on a benchmark made from three collections of held-out music.

The music is not part of the repository: folders pixel-dungeon, neverball and openmusic. The files halls_* and theme_*
of pixel-dungeon are the backgrounds, the other tracks the references. If folders cc0-beats and librosa exist too,
encoders are also compared by window retrieval on all of them.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from asid_core.evaluation.evaluate import evaluate
from asid_core.evaluation.truth import read_truth
from asid_core.model.fingerprinter import Fingerprinter
from benchmarks.lib import audfprint, retrieval, speed
from benchmarks.lib.calls import forget_other_code
from benchmarks.lib.quality_bench import BENCH, COMMAND, FOLDERS, QUERIES, make
from benchmarks.lib.results import write_section
from benchmarks.lib.systems import Scored, cost_table, quality_table, scored, shipped, systems_of
from pipelines.evaluate import comparison

log = logging.getLogger(__name__)

CHOSEN_ON = ("cc0-beats", "librosa")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--music", metavar="DIR", type=Path, required=True, help=f"folder with {', '.join(FOLDERS)}")
    parser.add_argument("--bench", metavar="DIR", type=Path, default=BENCH, help="kept between runs")
    parser.add_argument(
        "--weights", metavar="W", nargs="+", help="directories of additional weights, such as imported ones"
    )
    parser.add_argument(
        "--queries", metavar="N", type=int, default=QUERIES, help=f"RESULTS.md is written only for {QUERIES}"
    )
    args = parser.parse_args(argv)
    logging.basicConfig(level="WARNING", format="%(asctime)s %(name)s: %(message)s")
    log.setLevel("INFO")
    quiet = speed.idle()  # checked before we start any work
    if not (args.bench / "truth.json").exists() and (code := make(args.music, args.bench, args.queries)):
        return code
    if forget_other_code(args.bench):
        log.info("the code has changed; running every sweep again")
    weights = [*shipped(), *(args.weights or ())]
    speeds = measured_speeds(weights, args.bench) if quiet else {}
    by_model = {w: [scored(s, args.bench) for s in systems_of(w, args.bench / "figures")] for w in weights}
    every = [system for systems in by_model.values() for system in systems]
    other, said = with_audfprint(args.bench)
    windows = retrieval_table(weights, args.music)
    sections = {
        **{
            f"Quality of {Path(model).name} on held-out music": (
                f"{systems[0].reports['all'].to_markdown()}\n{comparison(systems[0].reports, 'stage')}"
            )
            for model, systems in by_model.items()
        },
        "Systems on held-out music": (
            f"{quality_table([*every, *other])}\n{said}\n\n{cost_table(every, speeds)}\n"
            f"Windows per second are measured only on an idle machine."
        ),
    }
    if windows:
        sections["Windows against windows"] = windows
    for name, text in sections.items():
        print(f"{name}\n\n{text}")
        if args.queries == QUERIES:
            write_section(name, COMMAND, text)
    return 0


def measured_speeds(weights: Sequence[str], bench: Path) -> dict[str, float]:
    """Windows per second of each of `weights`, on the same recording."""
    recording = sorted((bench / "references").glob("*.flac"))[0]
    return {name: speed.windows_per_second(name, recording) for name in weights}


def with_audfprint(bench: Path) -> tuple[list[Scored], str]:
    """audfprint's figures, if it is installed, and a sentence about it."""
    program = audfprint.program()
    if program is None:
        return [], "audfprint is left out, because it is not installed."
    rows = audfprint.detections(program, bench, bench / "figures")
    report = evaluate(rows, read_truth(bench / "truth.json"), "strict")
    name = f"audfprint, {audfprint.SHIFTS} shifts"
    return [Scored(name, {"all": report})], f"audfprint was run as the external program `{Path(program).name}`."


def retrieval_table(weights: Sequence[str], music: Path) -> str:
    """Window retrieval of every trained model, on the music that is available; empty if there is none."""
    trained = [w for w in weights if retrieval.is_trained(Fingerprinter.from_pretrained(w))]
    kinds = {"held out": FOLDERS, "weights chosen on": CHOSEN_ON}
    places = {
        f"{', '.join(names)} ({title})": [music / name for name in names]
        for title, names in kinds.items()
        if all((music / name).is_dir() for name in names)
    }
    if not trained or not places:
        return ""
    return f"{retrieval.WINDOWS} windows; {retrieval.SAYS}\n\n{retrieval.table(trained, places)}"


if __name__ == "__main__":
    sys.exit(main())
