"""What an incremental sweep takes over from an earlier one, and where it finds it."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asid_core.matching.detection import Detection, ranked
from asid_core.schema import DETECTIONS
from pipelines.search import incremental
from pipelines.search.incremental import Base
from pipelines.store import detections
from pipelines.store.catalogue import Catalogue
from pipelines.store.pairs import PAIR
from tests.pipelines.fake_sweep import detection

BEFORE = "20260101T000000Z-before"


def tracks(*pairs: tuple[str, str]) -> pa.Table:
    return pa.table([pa.array(some, pa.string()) for some in zip(*pairs, strict=True)], names=PAIR)


@pytest.fixture()
def catalogue(tmp_path: Path) -> Catalogue:
    """A finished sweep of five tracks in shards of two; e was no query. Each query has several places in each track."""
    made = Catalogue(str(tmp_path / "c"), create=True)
    known = tracks(*((name, f"hash {name}") for name in "abcde"))
    rng = np.random.default_rng(0)
    for shard, queries in enumerate(("ab", "cd")):
        found = [
            Detection(**{**detection(q, r, float(rng.random())), "query_start_s": float(n)})
            for q, r, n in itertools.product(queries, "abcde", range(3))
            if q != r
        ]
        rows = [one for q in queries for one in ranked(one for one in found if one.query_id == q)]
        with detections.part(made, BEFORE, shard).writing() as stream:
            pq.write_table(detections.table(rows, BEFORE), stream)
    with made.writing("test"):
        detections.write_tracks(made, BEFORE, known)
        detections.finish(made, {"sweep_id": BEFORE, "settings": "s"})
    return made


def rows_before(catalogue: Catalogue) -> list[dict[str, Any]]:
    return detections.detections(catalogue, BEFORE).to_pylist()


def test_tracks_of_the_base_are_found_by_id_or_by_their_audio(catalogue: Catalogue) -> None:
    now = tracks(("a", "hash a"), ("b", "changed"), ("e", "hash e"), ("moved", "hash c"), ("new", "hash new"))
    found = incremental.find_base(catalogue, "s", now)
    assert found is not None
    base, known = found
    assert (base.renamed, base.dropped) == ({"c": "moved"}, {"b", "d"})
    assert known.to_pylist() == [True, False, True, True, False]
    assert incremental.find_base(catalogue, "other settings", now) is None


@pytest.mark.parametrize(
    ("renamed", "dropped"), [({}, ""), ({}, "b"), ({"c": "moved"}, "be"), ({"a": "z", "b": "a"}, "d"), ({}, "abcde")]
)
def test_rows_are_taken_over_with_their_names_of_today_and_ranked_again(
    catalogue: Catalogue, renamed: dict[str, str], dropped: str
) -> None:
    base = Base(BEFORE, renamed, frozenset(dropped))
    (parts,) = incremental.parts_to_copy(catalogue, base)
    found = detections.ranked(incremental.carried(catalogue, base, parts), "after")
    expected: dict[str, list[Detection]] = {}
    for row in rows_before(catalogue):
        if not {row["query_id"], row["reference_id"]} & set(dropped):
            names = {key: renamed.get(row[key], row[key]) for key in ("query_id", "reference_id")}
            expected.setdefault(names["query_id"], []).append(Detection(**row | names))
    wanted = detections.table((one for query in sorted(expected) for one in ranked(expected[query])), "after")
    assert found.schema == DETECTIONS and found.to_pylist() == wanted.to_pylist()


def test_large_parts_are_copied_apart(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incremental, "COPIED_BYTES", 10)
    parts = incremental.parts_to_copy(catalogue, Base(BEFORE, {}, frozenset()))
    assert parts == [["part-000000.parquet"], ["part-000001.parquet"]]


def test_rows_of_pairs_compared_once_are_turned() -> None:
    found = [("a", "b", 0.9, 0.2), ("a", "c", 0.8, 0.6), ("d", "a", 0.7, None)]
    rows = detections.table((Detection(**detection(q, r, score, direction=p)) for q, r, score, p in found), BEFORE)
    names = ("query_id", "reference_id", "rank")
    turned = detections.by_direction(rows, BEFORE)
    assert [tuple(row[name] for name in names) for row in turned.to_pylist()] == [
        ("a", "c", 1),
        ("b", "a", 1),
        ("d", "a", 1),
    ]
    assert turned["direction"].to_pylist() == [pytest.approx(0.6), pytest.approx(0.8), None]
    both = detections.both_ways(turned, BEFORE)
    assert both.schema == DETECTIONS
    assert [tuple(row[name] for name in names) for row in both.to_pylist()] == [
        ("a", "b", 1), ("a", "c", 2), ("a", "d", 3), ("b", "a", 1), ("c", "a", 1), ("d", "a", 1),
    ]  # fmt: skip
