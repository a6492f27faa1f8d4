"""Detections become relations: one per pair, in the right direction, with groups that share the same material."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asid_core.matching.relations import covered_s, relate
from asid_core.schema import DETECTIONS
from tests.pipelines.fake_sweep import detection

WITH_DIRECTION = (
    DETECTIONS
    if "direction" in DETECTIONS.names
    else DETECTIONS.append(pa.field("direction", pa.float32(), nullable=True))
)


def table(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=WITH_DIRECTION)


def at(query: str, query_s: float, reference: str, reference_s: float, **more: Any) -> dict[str, Any]:
    """A detection of four seconds in both tracks."""
    spans = {"query_start_s": query_s, "query_end_s": query_s + 4.0}
    spans |= {"reference_start_s": reference_s, "reference_end_s": reference_s + 4.0}
    return detection(query, reference, **(spans | more))


def test_a_pair_is_one_relation_with_its_places() -> None:
    relations = relate(
        table(
            at("a", 10, "b", 0, score=0.7),
            at("a", 20, "b", 0, score=0.9),
            at("b", 0.5, "a", 10.5, score=0.8),  # the first one again, from the other side
            at("a", 22, "b", 8, score=0.6),  # overlaps the second in one track only: another place
        ),
        {},
    )
    (relation,) = relations.table.to_pylist()
    assert (relation["query_id"], relation["reference_id"], relation["places"]) == ("a", "b", 3)
    assert relation["times"] == 2  # the places at 20 s and at 22 s are one part of the track
    assert relation["score"] == pytest.approx(0.9) and relation["decided_by"] == "unknown"
    assert relation["query_s"] == 10.0 and relation["reference_s"] == 8.5  # overlaps count once
    assert [p["score"] for p in relations.places.to_pylist()] == pytest.approx([0.9, 0.8, 0.6])
    assert {p["query_id"] for p in relations.places.to_pylist()} == {"a"}


def test_the_tempo_of_a_relation_is_that_of_most_seconds() -> None:
    long = at("a", 30, "b", 0, score=0.8, tempo_ratio=1.1, pitch_semitones=2.0) | {"query_end_s": 40.0}
    rows = table(
        at("a", 10, "b", 0, score=0.9, tempo_ratio=1.17, pitch_semitones=None),
        long,
        at("a", 50, "b", 9, tempo_ratio=1.0),
    )
    (relation,) = relate(rows, {}).table.to_pylist()
    assert relation["tempo_ratio"] == pytest.approx(1.1) and relation["pitch_semitones"] == 2.0


def test_years_decide_then_audio_then_nothing() -> None:
    rows = table(
        at("old", 0, "new", 8, tempo_ratio=0.8, pitch_semitones=-2.0, direction=0.9),
        at("x", 0, "y", 8, direction=0.1),
        at("s", 0, "t", 8, direction=0.6),
        at("u", 0, "v", 8),
    )
    relations = relate(rows, {"old": 1970, "new": 1990, "x": 1980, "y": 1980, "s": 1999})
    by_query = {r["query_id"]: r for r in relations.table.to_pylist()}
    assert {q: (r["reference_id"], r["decided_by"]) for q, r in by_query.items()} == {
        "new": ("old", "years"), "y": ("x", "audio"), "s": ("t", "unknown"), "u": ("v", "unknown"),
    }  # fmt: skip
    assert [by_query[q]["direction"] for q in ("new", "y", "s", "u")] == [1.0, *map(pytest.approx, (0.9, 0.6)), None]
    turned = relations.places.to_pylist()[by_query["new"]["first_place"]]
    assert (turned["query_start_s"], turned["reference_start_s"]) == (8.0, 0.0)
    assert turned["tempo_ratio"] == pytest.approx(1.25) and turned["pitch_semitones"] == 2.0
    assert turned["direction"] == pytest.approx(0.1)


def test_a_pair_with_a_duplicate_is_a_duplicate_and_comes_last() -> None:
    rows = table(at("a", 0, "b", 0, score=0.99, kind="duplicate"), at("a", 9, "b", 4), at("c", 0, "d", 0, score=0.5))
    kinds = [(r["query_id"], r["kind"], r["places"]) for r in relate(rows, {}).table.to_pylist()]
    assert kinds == [("c", "sample", 1), ("a", "duplicate", 2)]


def test_three_tracks_that_share_one_thing_are_a_group() -> None:
    loop = [at("a", 10, "b", 20), at("b", 20, "c", 30), at("c", 30, "a", 10), at("d", 5, "a", 10), at("d", 5, "c", 31)]
    other = [at("a", 50, "e", 0), at("b", 60, "e", 0), at("f", 0, "g", 0)]  # e at other places; no triangle
    relations = relate(table(*loop, *other), {}).table.to_pylist()
    groups = {frozenset((r["query_id"], r["reference_id"])): r["common_source"] for r in relations}
    assert {"".join(sorted(pair)) for pair, group in groups.items() if group == 1} == {"ab", "bc", "ac", "ad", "cd"}
    assert {r["source_id"] for r in relations} == {None} and set(groups.values()) == {1, None}


def test_a_group_names_its_source_where_years_do() -> None:
    loop = [at("a", 10, "b", 20), at("b", 20, "c", 30), at("c", 30, "a", 10)]
    relations = relate(table(*loop), {"a": 2001, "b": 1999, "c": 1973}).table.to_pylist()
    assert {r["source_id"] for r in relations} == {"c"} and {r["common_source"] for r in relations} == {1}


def test_nothing_found_is_an_empty_table() -> None:
    relations = relate(table(), {})
    assert relations.table.num_rows == relations.places.num_rows == 0


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 20))))
def test_covered_time_is_the_size_of_the_union(spans: list[tuple[int, int]]) -> None:
    union = {second for start, length in spans for second in range(start, start + length)}
    assert covered_s((float(s), float(s + n)) for s, n in spans) == len(union)


@given(st.permutations(range(6)))
def test_the_order_of_the_rows_does_not_matter(order: list[int]) -> None:
    rows = [at(q, 0, r, 8, score=0.5 + i / 20) for i, (q, r) in enumerate(itertools.combinations("abcd", 2))]
    expected = relate(table(*rows), {"a": 1980, "b": 1990})
    assert relate(table(*(rows[i] for i in order)), {"a": 1980, "b": 1990}) == expected


def test_a_hundred_thousand_detections_take_seconds() -> None:
    rows = [at(f"q{i % 4000}", 10.0 * (i // 20_000), f"r{i % 20_000}", 0.0, score=0.9) for i in range(100_000)]
    many = table(*rows)
    started = time.process_time()
    assert relate(many, {}).table.num_rows == 20_000
    assert time.process_time() - started < 15
