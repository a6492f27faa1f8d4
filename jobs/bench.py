"""asid bench make|run|fit: make a benchmark with known samples, score a model on it, fit the final score to it."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from asid_core.plain_values import ConfigError
from jobs import command, figures
from jobs.command import Failure, Outcome, Session, Verb

if TYPE_CHECKING:
    from asid_core.evaluation.fitting import Fit
    from asid_core.evaluation.report import Report
    from pipelines.store.catalogue import Catalogue
    from pipelines.store.location import Location

NEEDS = {"make": ("corpus", "output"), "run": ("bench",), "fit": ("bench",)}


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what", choices=tuple(NEEDS), help="make a benchmark, score a model on it, or fit the final score"
    )
    parser.add_argument("--corpus", metavar="DIR", nargs="+", help="make: folders or files of music")
    parser.add_argument(
        "--backgrounds",
        metavar="DIR",
        nargs="+",
        help="make: music to mix samples into (default: a third of the corpus)",
    )
    parser.add_argument(
        "--distractors", metavar="DIR", nargs="+", default=[], help="make: extra references that no query samples"
    )
    parser.add_argument(
        "--kinds",
        metavar="NAME",
        nargs="+",
        default=["textbook"],
        help="make: kinds of samples: textbook (default), wild, all, or single ones such as turntable, short, chopped",
    )
    parser.add_argument(
        "--midi", metavar="DIR", help="make: MIDI files, which kind none_alike renders with two sound fonts"
    )
    parser.add_argument(
        "--loops", metavar="DIR", help="make: loops; the first word of each file name says which library it is from"
    )
    parser.add_argument("--queries", metavar="N", type=int, default=100, help="make: number of queries (default 100)")
    parser.add_argument("--seed", metavar="S", type=int, default=0, help="make: random seed (default 0)")
    parser.add_argument("--bench", metavar="DIR", help="run, fit: a folder that `asid bench make` wrote")
    parser.add_argument(
        "--verdicts", metavar="CATALOGUE", help="fit: use the verdicts in this catalogue instead of a benchmark"
    )
    parser.add_argument(
        "--against", metavar="F.json", help="run: --output of another run on the same benchmark, for a paired test"
    )
    parser.add_argument(
        "--output", metavar="DIR|F.json", help="make: folder for the benchmark; run: file for all figures"
    )
    command.format_option(parser)


def work(session: Session) -> Outcome:
    args = session.args
    for name in () if args.what == "fit" and args.verdicts else NEEDS[args.what]:
        if not getattr(args, name):
            raise ConfigError(f"{args.what} needs --{name} (asid bench --help)")
    try:
        return {"make": _make, "run": _run, "fit": _fit}[args.what](session)
    except ValueError as error:
        raise Failure(str(error)) from error


def _make(session: Session) -> Outcome:
    from asid_core.synthetic.bench import make_bench
    from asid_core.synthetic.studio import NotInstalled

    args = session.args
    remote = [place for place in [*args.corpus, *(args.backgrounds or ()), args.output] if place.startswith("s3://")]
    if remote:
        raise Failure(f"bench make reads and writes local folders, not {remote[0]}. Download the music first.")
    names = ("backgrounds", "distractors", "kinds", "midi", "loops")
    try:
        sources = {name: getattr(args, name) for name in names}
        truth = make_bench(args.corpus, args.output, args.seed, args.queries, **sources)
    except NotInstalled as error:
        raise Failure(str(error)) from error
    counts = f"{len(truth.queries):,} queries, {len(truth.relations):,} of them sample one of"
    return Outcome(session.summary(f"{counts} {len(truth.references):,} references, in {args.output}"))


def _run(session: Session) -> Outcome:
    from pipelines.evaluate import evaluate_bench
    from pipelines.store.location import Location

    args, config = session.args, session.config
    with catalogue_of_bench(session, "bench run", Path(args.bench)) as catalogue:
        result = evaluate_bench(Path(args.bench), catalogue, config, session.weights(), session.progress)
    report = result.reports["all"]
    figures.show(result.reports, "all", "stage", args.format)
    if args.against and args.format == "table":
        print(compared(report, Location(args.against), config.model.name))
    if args.output:
        Location(args.output).write_bytes(result.to_json(model=config.model.name))
    counts = f"mAP {report.figures['map']} on {report.num_queries} queries"
    return Outcome(session.summary(counts), to_stderr=args.format != "table")


def compared(report: Report, other: Location, name: str) -> str:
    """A Markdown table: paired test of `report` against the figures in `other`, written by `bench run --output`.

    `name` labels the model of `report`. Raises Failure if `other` holds no such figures, and ValueError if they are
    for other queries.
    """
    from asid_core.evaluation.report import Report, paired_table

    try:
        values = json.loads(other.read_bytes())
        return paired_table(report, Report.from_dict(values["reports"]["all"]), (name, str(values["model"])))
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        hint = "pass a file that `asid bench run --output` wrote"
        raise Failure(f"{other} does not hold benchmark figures ({error!r}): {hint}") from error


def _fit(session: Session) -> Outcome:
    from asid_core.evaluation.fitting import MAX_ALARMS_PER_HOUR

    fit = _fit_to_verdicts(session) if session.args.verdicts else _fit_to_bench(session)
    values = {name: float(f"{value:.3g}") for name, value in asdict(fit.score).items()}
    print(yaml.safe_dump({"score": values}, sort_keys=False))
    counts = f"fitted to {fit.pairs:,} pairs, {fit.right:,} of them true; log loss {fit.log_loss:.4f}"
    if fit.lowered:
        counts += f"; intercept lowered by {fit.lowered:.2f} to allow {MAX_ALARMS_PER_HOUR:g} false alarms per hour"
    return Outcome(session.summary(counts))


def _fit_to_bench(session: Session) -> Fit:
    from asid_core.evaluation.fitting import fit_score
    from pipelines.evaluate import REFERENCES, sweep_bench, tries_of

    args, config = session.args, session.config
    with catalogue_of_bench(session, "bench fit", Path(args.bench)) as catalogue:
        truth, swept = sweep_bench(Path(args.bench), catalogue, config, session.weights(), session.progress)
    tries = tries_of(catalogue, config, session.weights(), REFERENCES)
    return fit_score(swept.detections, truth, config.score, tries)


def _fit_to_verdicts(session: Session) -> Fit:
    from pipelines.evaluate import fit_verdicts
    from pipelines.store.catalogue import Catalogue

    return fit_verdicts(Catalogue(session.args.verdicts), session.config, session.weights())


@contextlib.contextmanager
def catalogue_of_bench(session: Session, verb: str, folder: Path) -> Iterator[Catalogue]:
    """Starts Ray, and writes to the catalogue in the folder of a benchmark, one for each model name.

    Raises Failure if the folder is not a benchmark.
    """
    from pipelines.runtime import start_ray
    from pipelines.store.catalogue import Catalogue

    if not (folder / "truth.json").is_file():
        raise Failure(f"{folder} is not a benchmark. Make one with `asid bench make`.")
    uri = str(folder / f"catalogue-{session.config.model.name}")
    catalogue = Catalogue(uri, create=True, geometry=session.config.segment)
    start_ray(session.args.ray_address)
    with catalogue.writing(verb):
        yield catalogue


VERB = Verb(
    "bench",
    "Make a benchmark with known samples from any music; score a model on it.",
    "asid bench make --corpus ~/Music --output ~/bench\n"
    "asid bench make --corpus ~/Music --kinds wild --queries 240 --output ~/wild\n"
    "asid bench run --bench ~/bench --output ~/default.json\n"
    "asid bench run --bench ~/bench --weights linear --against ~/default.json\n"
    "asid bench fit --verdicts ~/music.asid",
    options,
    work,
    uses_ray=True,
)
