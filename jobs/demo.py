"""asid demo: generate a small catalogue with known samples, run `asid run` on it, compare the result with the truth."""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs import command, logs, run, tables
from jobs.command import Outcome, Session, Verb

if TYPE_CHECKING:
    from asid_core.evaluation.planted import FalseAlarm, Planted

WITHIN_S = 1.0  # largest position error of a sample that counts as found
MIN_FOUND = 8  # of the ten planted samples
COLUMNS = {
    "query": ("track", tables.plain),
    "query_span": ("at", tables.plain),
    "reference": ("samples", tables.plain),
    "reference_span": ("from", tables.plain),
    "changed": ("planted as", tables.plain),
    "found": ("found as", tables.plain),
    "rank": ("rank", tables.plain),
    "score": ("score", tables.number(2)),
    "error_s": ("error s", tables.number(2)),
}


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output", metavar="DIR", type=Path, help="keep music and catalogue here (default: a temporary folder)"
    )
    parser.set_defaults(queries=None, references=None, new_only=False)
    command.score_option(parser)
    command.format_option(parser)


def work(session: Session) -> Outcome:
    from asid_core.evaluation.planted import compare
    from asid_core.synthetic.demo_music import write_demo
    from pipelines.runtime import start_ray
    from pipelines.store.catalogue import Catalogue

    with _folder(session.args.output) as folder:
        truth = write_demo(folder)
        logs.tell(f"{len(truth.queries)} tracks in {folder / 'music'}, {len(truth.relations)} of which sample another")
        catalogue = Catalogue(str(folder / "catalogue"), create=True, geometry=session.config.segment)
        start_ray(session.args.ray_address)
        done = run.main_job(session, str(folder / "music"), catalogue)
        planted, alarms = compare(done.swept.of_all_queries, truth, session.args.min_score or 0.0)
    if session.args.format == "table":
        print(tables.aligned([line(p) for p in planted], COLUMNS))
        print(verdict(alarms))
    else:
        command.show_rows([line(p) for p in planted], session.args.format)
    right = sum(p.found(WITHIN_S) for p in planted)
    counts = f"{right} of {len(planted)} samples at rank 1 and within {WITHIN_S:g} s, {len(alarms)} false alarms"
    code = command.DONE if right >= MIN_FOUND and not alarms else command.FAILED
    summary = session.summary(counts, done.segmented.audio_s)
    return Outcome(summary, code, to_stderr=session.args.format != "table")


@contextlib.contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    if given is not None:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="asid-demo-") as made:
        yield Path(made)


def line(planted: Planted) -> dict[str, Any]:
    """One planted sample as a row of COLUMNS."""
    relation, best = planted.relation, planted.best
    first = relation.occurrences[0]
    return {
        "query": relation.query,
        "query_span": f"{tables.clock_s(first.query_start_s)} x{len(relation.occurrences)}",
        "reference": relation.reference,
        "reference_span": f"{tables.clock_s(first.reference_start_s)}-{tables.clock_s(first.reference_end_s)}",
        "changed": _change(relation.tempo_ratio, relation.pitch_semitones),
        "found": _change(best.tempo_ratio, best.pitch_semitones) if best else "missed",
        "rank": planted.rank,
        "score": best.score if best else None,
        "error_s": planted.span_error_s,
    }


def _change(tempo_ratio: float | None, semitones: float | None) -> str:
    return f"{tables.number(2)(tempo_ratio)} x, {tables.number(1, signed=True)(semitones)} st"


def verdict(alarms: Sequence[FalseAlarm]) -> str:
    """One line on the false alarms: pairs that were reported although they have nothing in common."""
    if not alarms:
        return "no false alarms"
    return "false alarms: " + ", ".join(f"{a.query} < {a.reference} ({a.score:.2f})" for a in alarms)


VERB = Verb(
    "demo",
    "Generate music with known samples, find them, and compare with the truth.",
    "asid demo\nasid demo --output ~/asid-demo      # keeps music and catalogue, for asid report",
    options,
    work,
    uses_ray=True,
)
