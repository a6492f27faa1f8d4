"""Relations: all detections of one pair of tracks, summarised as "the query samples the reference".

A search finds a pair from both sides and at several places. A relation says which track samples which, in how many
places, for how long, and how certain the direction is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from asid_core.matching.common_source import Span, common_sources, overlap
from asid_core.schema import RELATIONS

SAME_SPAN = 0.5  # share of the shorter span: two places that overlap more in both tracks are one place
DECIDED = 0.7  # minimum probability of a direction to report it
SPANS = ("query_start_s", "query_end_s", "reference_start_s", "reference_end_s")
Pair = tuple[str, str]  # of track ids, in alphabetical order


@dataclass(frozen=True)
class Relations:
    """`table` (schema.RELATIONS): samples, then duplicates, each by descending score.

    `places` (schema.DETECTIONS): the places of relation 0, then those of relation 1, and so on, by descending score,
    each in the direction of its relation.
    """

    table: pa.Table
    places: pa.Table


@dataclass(frozen=True)
class _Direction:
    """`forward`: whether the first track of the pair is the query. `probability`: of this direction, if known."""

    forward: bool
    decided_by: str  # 'years' | 'audio' | 'unknown'
    probability: float | None


def relate(rows: pa.Table, years: Mapping[str, int | None]) -> Relations:
    """Group `rows` (schema.DETECTIONS, any order) by pair of tracks.

    `years`: year of release by track_id, where known. The younger track is the query. If a year is missing or both are
    equal, the column `direction` (probability that the query of the row is the sampler) decides, if it exists and is
    clear. Otherwise the relation keeps the direction of its best row and is marked as unknown.
    A pair with a row of kind 'duplicate' is a duplicate.
    """
    rows = _by_score(rows)
    pairs = [_pair(q, r) for q, r in zip(_list(rows, "query_id"), _list(rows, "reference_id"), strict=True)]
    directions = _directions(rows, pairs, years)
    queries = _list(rows, "query_id")
    turn = [(q == pair[0]) != directions[pair].forward for q, pair in zip(queries, pairs, strict=True)]
    rows = turned(rows, pa.array(turn, pa.bool_()))
    numbers = _numbers_of_places(rows, pairs)
    places = rows.take(pa.array([n for of_pair in numbers.values() for n in of_pair], pa.int64()))
    return Relations(_table(places, [(pair, len(n)) for pair, n in numbers.items()], directions), places)


def turned(rows: pa.Table, mask: pa.Array) -> pa.Table:
    """`rows` (schema.DETECTIONS) with query and reference swapped where `mask` is true."""
    columns = {name: rows.column(name) for name in rows.column_names}
    for name in ("id", "start_s", "end_s"):
        query, reference = columns[f"query_{name}"], columns[f"reference_{name}"]
        columns[f"query_{name}"] = pc.if_else(mask, reference, query)
        columns[f"reference_{name}"] = pc.if_else(mask, query, reference)
    ratio, pitch = columns["tempo_ratio"], columns["pitch_semitones"]
    columns["tempo_ratio"] = pc.if_else(mask, pc.divide(pa.scalar(1.0, pa.float32()), ratio), ratio)
    columns["pitch_semitones"] = pc.if_else(mask, pc.negate(pitch), pitch)
    if "direction" in columns:
        direction = columns["direction"]
        columns["direction"] = pc.if_else(mask, pc.subtract(pa.scalar(1.0, direction.type), direction), direction)
    return pa.table(columns).cast(rows.schema)


def stretches(spans: Iterable[Span]) -> list[Span]:
    """The parts of a track that the spans cover, in order: spans that overlap or touch become one."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def covered_s(spans: Iterable[Span]) -> float:
    """Seconds covered by at least one of the spans."""
    return sum(end - start for start, end in stretches(spans))


def _median(values: Sequence[float | None], weights: Sequence[float]) -> float | None:
    """The weighted median of the known values; None without any."""
    known = sorted((value, weight) for value, weight in zip(values, weights, strict=True) if value is not None)
    half, passed = sum(weight for _, weight in known) / 2, 0.0
    for value, weight in known:
        passed += weight
        if passed >= half:
            return value
    return None


def _by_score(rows: pa.Table) -> pa.Table:
    ties = ("query_id", "query_start_s", "reference_id", "reference_start_s")
    return rows.sort_by([("score", "descending"), *((name, "ascending") for name in ties)])


def _list(rows: pa.Table, name: str) -> list[Any]:
    return list(rows.column(name).to_pylist())


def _pair(one: str, other: str) -> Pair:
    return (one, other) if one < other else (other, one)


def _directions(rows: pa.Table, pairs: Sequence[Pair], years: Mapping[str, int | None]) -> dict[Pair, _Direction]:
    """The direction of each pair. `rows` must be sorted by descending score."""
    queries = _list(rows, "query_id")
    audio = _list(rows, "direction") if "direction" in rows.column_names else [None] * len(pairs)
    best: dict[Pair, bool] = {}
    heard: dict[Pair, list[float]] = {}
    for pair, query, probability in zip(pairs, queries, audio, strict=True):
        best.setdefault(pair, query == pair[0])
        if probability is not None:
            heard.setdefault(pair, []).append(probability if query == pair[0] else 1 - probability)
    return {pair: _decide(forward, heard.get(pair, ()), *map(years.get, pair)) for pair, forward in best.items()}


def _decide(best_forward: bool, heard: Sequence[float], year: int | None, other_year: int | None) -> _Direction:
    if year and other_year and year != other_year:
        return _Direction(year > other_year, "years", 1.0)
    # places of one pair are not independent, so their probabilities are averaged, not multiplied
    probability = float(np.mean(heard)) if heard else None
    if probability is not None and max(probability, 1 - probability) >= DECIDED:
        return _Direction(probability > 0.5, "audio", max(probability, 1 - probability))
    if probability is not None and not best_forward:
        probability = 1 - probability
    return _Direction(best_forward, "unknown", probability)


def _numbers_of_places(rows: pa.Table, pairs: Sequence[Pair]) -> dict[Pair, list[int]]:
    """Row numbers of the places of each pair, best first. Of rows with the same place, only the best counts.

    Pairs are in the order of relations: samples first, then duplicates, each by their best row.
    """
    spans = list(zip(*(_list(rows, name) for name in SPANS), strict=True))
    kinds = _list(rows, "kind")
    numbers: dict[Pair, list[int]] = {}
    duplicates: set[Pair] = set()
    for n, (pair, kind) in enumerate(zip(pairs, kinds, strict=True)):
        if kind == "duplicate":
            duplicates.add(pair)
        kept = numbers.setdefault(pair, [])
        if not any(_is_same_place(spans[n], spans[other]) for other in kept):
            kept.append(n)
    return dict(sorted(numbers.items(), key=lambda item: item[0] in duplicates))  # the sort is stable


def _is_same_place(a: Sequence[float], b: Sequence[float]) -> bool:
    one, other = overlap((a[0], a[1]), (b[0], b[1])), overlap((a[2], a[3]), (b[2], b[3]))
    return one > SAME_SPAN and other > SAME_SPAN


def _table(places: pa.Table, pairs: Sequence[tuple[Pair, int]], directions: Mapping[Pair, _Direction]) -> pa.Table:
    """The relations (schema.RELATIONS) of `places`. `pairs`: each pair with its number of places, in order."""
    columns = {name: _list(places, name) for name in (*SPANS, "query_id", "reference_id", "score", "kind")}
    first_columns, typical_columns = ("sweep_id", "model_id"), ("tempo_ratio", "pitch_semitones")
    columns |= {name: _list(places, name) for name in (*first_columns, *typical_columns)}
    table: list[dict[str, Any]] = []
    first = 0
    for pair, count in pairs:
        direction = directions[pair]
        some = slice(first, first + count)
        starts_and_ends = [columns[name][some] for name in SPANS]
        played = stretches(zip(*starts_and_ends[:2], strict=True))
        row = {name: columns[name][first] for name in ("query_id", "reference_id", "score", *first_columns)}
        row |= {"kind": "duplicate" if "duplicate" in columns["kind"][some] else "sample", "places": count}
        row |= {"times": len(played), "query_s": covered_s(played)}
        row |= {"reference_s": covered_s(zip(*starts_and_ends[2:], strict=True))}
        lengths_s = [end - start for start, end in zip(*starts_and_ends[:2], strict=True)]
        row |= {name: _median(columns[name][some], lengths_s) for name in typical_columns}
        row |= {"decided_by": direction.decided_by, "direction": direction.probability}
        table.append(row | {"first_place": first})
        first += count
    spans = list(zip(*(columns[name] for name in SPANS), strict=True))
    for number, group in enumerate(common_sources(table, spans), start=1):
        for relation in group.relations:
            table[relation] |= {"common_source": number, "source_id": group.source_id}
    return pa.Table.from_pylist(table, schema=RELATIONS)
