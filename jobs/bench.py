"""asid bench make|run|fit: music with known samples, how a model does on it, and the final score fitted to it."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from asid_core.plain_values import ConfigError
from jobs.command import Failure, Outcome, Session, Verb

if TYPE_CHECKING:
    from asid_core.evaluation.fitting import Fit
    from asid_core.evaluation.report import Report
    from pipelines.store.location import Location

NEEDS = {"make": ("corpus", "output"), "run": ("bench",), "fit": ("bench",)}


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=tuple(NEEDS), help="make one; score a model on it; fit the final score to it")
    parser.add_argument("--corpus", metavar="DIR", nargs="+", help="make: folders or files of music")
    parser.add_argument(
        "--backgrounds",
        metavar="DIR",
        nargs="+",
        help="make: music to mix samples into (default: a third of the corpus)",
    )
    parser.add_argument(
        "--distractors", metavar="DIR", nargs="+", default=[], help="make: more references, which no query samples"
    )
    parser.add_argument(
        "--kinds",
        metavar="NAME",
        nargs="+",
        default=["textbook"],
        help="make: textbook (default), wild, all, or single kinds such as turntable, short, chopped",
    )
    parser.add_argument("--midi", metavar="DIR", help="make: scores that kind none_alike renders with two sound fonts")
    parser.add_argument("--loops", metavar="DIR", help="make: loop libraries, by the first word of their file names")
    parser.add_argument("--queries", metavar="N", type=int, default=100, help="make: how many (default 100)")
    parser.add_argument("--seed", metavar="S", type=int, default=0, help="make: the same seed, the same benchmark")
    parser.add_argument("--bench", metavar="DIR", help="run, fit: a folder that `asid bench make` made")
    parser.add_argument(
        "--verdicts",
        metavar="CATALOGUE",
        help="fit: to what `asid review` keeps in this catalogue, not to a bench",
    )
    parser.add_argument(
        "--against", metavar="F.json", help="run: another run's --output on the same benchmark: the paired test of both"
    )
    parser.add_argument(
        "--output", metavar="DIR|F.json", help="make: a folder for the benchmark; run: a file for all figures"
    )


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
        raise Failure(f"bench make reads and writes folders here, not {remote[0]}: copy the music first")
    names = ("backgrounds", "distractors", "kinds", "midi", "loops")
    try:
        places = {name: getattr(args, name) for name in names}
        truth = make_bench(args.corpus, args.output, args.seed, args.queries, **places)
    except NotInstalled as error:
        raise Failure(str(error)) from error
    counts = f"{len(truth.queries):,} queries, {len(truth.relations):,} of them sample one of"
    return Outcome(session.summary(f"{counts} {len(truth.references):,} references, in {args.output}"))


def _run(session: Session) -> Outcome:
    from pipelines.evaluate import comparison, evaluate_bench
    from pipelines.runtime import start_ray
    from pipelines.store.catalogue import Catalogue
    from pipelines.store.location import Location

    args, config = session.args, session.config
    catalogue = Catalogue(_catalogue_uri(session), create=True, geometry=config.segment)
    start_ray(args.ray_address)
    with catalogue.writing("bench run"):
        found = evaluate_bench(Path(args.bench), catalogue, config, session.weights(), session.progress)
    report = found.reports["all"]
    print(report.to_markdown())
    print(comparison(found.reports, "stage"))
    if args.against:
        print(compared(report, Location(args.against), config.model.name))
    if args.output:
        Location(args.output).write_bytes(found.to_json(model=config.model.name))
    return Outcome(session.summary(f"mAP {report.figures['map']} on {report.num_queries} queries"))


def compared(report: Report, other: Location, name: str) -> str:
    """The paired test against the figures that another `run --output` wrote. Raises Failure where they do not fit."""
    from asid_core.evaluation.report import Report, paired_table

    try:
        values = json.loads(other.read_bytes())
        return paired_table(report, Report.from_dict(values["reports"]["all"]), (name, str(values["model"])))
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise Failure(f"{other} holds no figures ({error!r}): give what `asid bench run --output` wrote") from error


def _fit(session: Session) -> Outcome:
    from asid_core.evaluation.fitting import MAX_ALARMS_PER_HOUR

    fit = _fit_to_verdicts(session) if session.args.verdicts else _fit_to_bench(session)
    values = {name: float(f"{value:.3g}") for name, value in asdict(fit.score).items()}
    print(yaml.safe_dump({"score": values}, sort_keys=False))
    counts = f"fitted to {fit.pairs:,} pairs, {fit.right:,} of them right; log loss {fit.log_loss:.4f}"
    if fit.lowered:
        counts += f"; {fit.lowered:.2f} below the likeliest intercept, for {MAX_ALARMS_PER_HOUR:g} false alarms an hour"
    return Outcome(session.summary(counts))


def _fit_to_bench(session: Session) -> Fit:
    from asid_core.evaluation.fitting import fit_score
    from pipelines.evaluate import REFERENCES, sweep_bench, tries_of
    from pipelines.runtime import start_ray
    from pipelines.store.catalogue import Catalogue

    args, config = session.args, session.config
    catalogue = Catalogue(_catalogue_uri(session), create=True, geometry=config.segment)
    start_ray(args.ray_address)
    with catalogue.writing("bench fit"):
        truth, swept = sweep_bench(Path(args.bench), catalogue, config, session.weights(), session.progress)
    tries = tries_of(catalogue, config, session.weights(), REFERENCES)
    return fit_score(swept.detections, truth, config.score.threshold, tries)


def _fit_to_verdicts(session: Session) -> Fit:
    from pipelines.evaluate import fit_verdicts
    from pipelines.store.catalogue import Catalogue

    return fit_verdicts(Catalogue(session.args.verdicts), session.config, session.weights())


def _catalogue_uri(session: Session) -> str:
    """Beside the music: fingerprints of several models of one name live together."""
    if not (Path(session.args.bench) / "truth.json").is_file():
        raise Failure(f"{session.args.bench} is not a benchmark; make one with `asid bench make`")
    return str(Path(session.args.bench) / f"catalogue-{session.config.model.name}")


VERB = Verb(
    "bench",
    "Make a benchmark with exact truth from any music; score a model on it.",
    "asid bench make --corpus ~/Music --output ~/bench\n"
    "asid bench make --corpus ~/Music --kinds wild --queries 240 --output ~/wild\n"
    "asid bench run --bench ~/bench --output ~/default.json\n"
    "asid bench run --bench ~/bench --weights linear --against ~/default.json\n"
    "asid bench fit --verdicts ~/music.asid",
    options,
    work,
)
