"""Evaluates detections against a truth, and returns a Report.

Rules for all figures: the score of a pair is that of its best row. A query is never its own reference. Other queries
are references only if somebody samples them, because two queries that sample the same passage do sound alike.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable

import numpy as np
import pyarrow as pa

from asid_core.evaluation import metrics, statistics
from asid_core.evaluation.localisation import Located, Row, locate
from asid_core.evaluation.metrics import Protocol
from asid_core.evaluation.rejection import Answered, nothing_by_kind, rejection_figures
from asid_core.evaluation.report import Report
from asid_core.evaluation.statistics import Figure
from asid_core.evaluation.truth import Query, Relation, Truth, track_name

SPLITS = ("tier", "background_db", "type", "interpolation", "tempo", "occurrences")
HIT_RANKS = (1, 3, 5, 10)
RIGHT_TEMPO, RIGHT_SEMITONES = 0.02, 0.5

Pairs = dict[str, dict[str, list[Row]]]  # query -> reference -> rows


def evaluate(
    detections: pa.Table,
    truth: Truth,
    protocol: Protocol = "strict",
    threshold: float = 0.5,
    references: Collection[str] | None = None,
    seed: int = 0,
) -> Report:
    """Score `detections` (schema.DETECTIONS), which must include those below the threshold, because AP needs them.

    threshold: the score from which a pair counts as reported. references: all tracks that may be returned, including
    distractors; by default, those of the truth and of the detections. Raises ValueError for an empty truth, an unknown
    protocol or a score that is not finite.
    """
    if not truth.queries:
        raise ValueError("the truth has no queries; nothing to evaluate")
    pairs = read_pairs(detections, truth)
    relevant = truth.relevant()
    answered = [_answer(q, relevant[q.name], pairs, protocol, truth.references) for q in truth.queries]
    returned = {name for rows in pairs.values() for name in rows}
    known = {track_name(r) for r in references or ()} - ({q.name for q in truth.queries} - set(truth.references))
    count = len(truth.references) if protocol == "paper" else len(known | set(truth.references) | returned)
    retrieval = _retrieval(answered, count, protocol)
    located = [locate(_reported(pairs[r.query].get(r.reference, []), threshold), r) for r in truth.relations]
    figures = {
        **_retrieval_figures(retrieval, seed),
        **rejection_figures(answered, threshold, seed),
        **_localisation_figures(located, seed),
        **_transformation_figures(truth.relations, located, pairs, threshold, seed),
    }
    return Report(
        protocol,
        threshold,
        len(truth.queries),
        count,
        figures,
        {
            **_by_group(answered, truth.relations, located, count, protocol, seed),
            **nothing_by_kind(answered, threshold, seed),
        },
        retrieval,
    )


def read_pairs(detections: pa.Table, truth: Truth) -> Pairs:
    """Rows by query and reference name, without those that no protocol counts. Raises ValueError as in `evaluate`."""
    queries = {q.name: q for q in truth.queries}
    not_ranked = set(queries) - set(truth.references)
    pairs: Pairs = {name: {} for name in queries}
    columns = [
        "query_id", "reference_id", "score", "query_start_s", "query_end_s", "reference_start_s", "reference_end_s",
        "tempo_ratio", "pitch_semitones", "direction",
    ]  # fmt: skip
    for query_id, reference_id, score, *spans, tempo, pitch, direction in zip(
        *(detections.column(name).to_pylist() for name in columns), strict=True
    ):
        query, reference = track_name(query_id), track_name(reference_id)
        if query not in queries or reference == query or reference in not_ranked:
            continue
        if reference in queries[query].ignored:
            continue
        if not math.isfinite(score):
            raise ValueError(f"the score of {query_id} and {reference_id} is {score}; scores must be finite")
        row = Row(score, (spans[0], spans[1]), (spans[2], spans[3]), tempo, pitch, direction)
        pairs[query].setdefault(reference, []).append(row)
    return pairs


def _reported(rows: list[Row], threshold: float) -> list[Row]:
    """The rows of a pair for localisation: those that reach the threshold, and the best one in any case."""
    best = max((r.score for r in rows), default=0.0)
    return [r for r in rows if r.score >= min(best, threshold)]


def _answer(
    query: Query, relevant: set[str], pairs: Pairs, protocol: Protocol, references: Collection[str]
) -> Answered:
    scores = {name: max(r.score for r in rows) for name, rows in pairs[query.name].items()}
    return Answered(query, frozenset(relevant), dict(metrics.rankable(scores, protocol, set(references))))


def _retrieval(answered: Iterable[Answered], num_references: int, protocol: Protocol) -> dict[str, dict[str, float]]:
    """Measure -> query -> value, for queries that sample something."""
    result: dict[str, dict[str, float]] = {name: {} for name in ("map", *(f"hit_at_{k}" for k in HIT_RANKS), "rank")}
    for a in answered:
        if not a.relevant:
            continue
        name = a.query.name
        result["map"][name] = metrics.average_precision(a.ranking, a.relevant, protocol)
        for k in HIT_RANKS:
            result[f"hit_at_{k}"][name] = metrics.hit_at(a.ranking, a.relevant, k)
        result["rank"][name] = metrics.normalised_rank(a.ranking, a.relevant, num_references)
    return result


def _retrieval_figures(retrieval: dict[str, dict[str, float]], seed: int) -> dict[str, Figure]:
    values = {name: np.array(list(by_query.values())) for name, by_query in retrieval.items()}
    ranks = values.pop("rank")
    return {
        **{name: statistics.mean_figure(v, seed) for name, v in values.items()},
        "mean_rank": statistics.mean_figure(ranks, seed),
        "median_rank": statistics.median_figure(ranks, seed),
    }


def _localisation_figures(located: list[Located], seed: int) -> dict[str, Figure]:
    def of(values: Iterable[float]) -> np.ndarray:
        return np.array([v if math.isfinite(v) else math.nan for v in values], float)

    return {
        "query_iou": statistics.mean_figure(of(x.query_iou for x in located), seed),
        "reference_iou": statistics.mean_figure(of(x.reference_iou for x in located), seed),
        "within_5_s": statistics.mean_figure(of(x.within(5) for x in located), seed),
        "within_1_s": statistics.mean_figure(of(x.within(1) for x in located), seed),
        "start_error_s": statistics.median_figure(of(x.start_error_s for x in located), seed),
        "alignment_error_s": statistics.median_figure(of(x.alignment_error_s for x in located), seed),
        "tempo_error": statistics.median_figure(of(x.tempo_error for x in located), seed),
        "pitch_error": statistics.median_figure(of(x.pitch_error for x in located), seed),
    }


def _transformation_figures(
    relations: Iterable[Relation], located: list[Located], pairs: Pairs, threshold: float, seed: int
) -> dict[str, Figure]:
    """How often pitch, tempo and direction are right, among reported pairs."""
    rows = [max(pairs[r.query].get(r.reference, []), key=lambda row: row.score, default=None) for r in relations]
    pairs_reported = [(one, row) for one, row in zip(located, rows, strict=True) if row and row.score >= threshold]
    reported = [one for one, _ in pairs_reported]
    directions = [row.direction for _, row in pairs_reported if row.direction is not None]

    def share(errors: Iterable[float], allowed: float) -> Figure:
        known = [float(error <= allowed) for error in errors if math.isfinite(error)]
        return statistics.mean_figure(np.array(known), seed)

    figures = {
        "tempo_right": share((one.tempo_error for one in reported), RIGHT_TEMPO),
        "pitch_right": share((one.pitch_error for one in reported), RIGHT_SEMITONES),
    }
    if directions:
        figures["direction_right"] = statistics.mean_figure(np.array([float(d > 0.5) for d in directions]), seed)
    return figures


def _by_group(
    answered: list[Answered],
    relations: tuple[Relation, ...],
    located: list[Located],
    count: int,
    protocol: Protocol,
    seed: int,
) -> dict[str, dict[str, dict[str, Figure]]]:
    """Figures for each group of relations. Relevant references of other groups are left out of a query's ranking."""
    by_name = {a.query.name: a for a in answered}
    result: dict[str, dict[str, dict[str, Figure]]] = {}
    for split in SPLITS:
        for value in sorted({r.groups[split] for r in relations if split in r.groups}):
            chosen = [i for i, r in enumerate(relations) if r.groups.get(split) == value]
            wanted: dict[str, set[str]] = {}
            for i in chosen:
                wanted.setdefault(relations[i].query, set()).add(relations[i].reference)
            part = []
            for name, right in wanted.items():
                a = by_name[name]
                ranking = {k: v for k, v in a.ranking.items() if k in right or k not in a.relevant}
                part.append(Answered(a.query, frozenset(right), ranking))
            result.setdefault(split, {})[value] = {
                **_retrieval_figures(_retrieval(part, count, protocol), seed),
                **_localisation_figures([located[i] for i in chosen], seed),
            }
    return result
