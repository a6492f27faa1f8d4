"""Compaction, the choice between exact search and an index, and the recall of the index."""

from __future__ import annotations

import contextlib
import functools
import os
import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from asid_core import schema
from asid_core.config import Config, SearchConfig
from asid_core.matching.coarse import Hits
from pipelines.search import index as module
from pipelines.search.approximate import IndexedReferences
from pipelines.search.exact import ExactReferences, Queries, References, runs_without
from pipelines.search.identify import Identifier
from pipelines.search.index import LEAST_SAMPLE, ROWS_PER_PARTITION, SAMPLE_BYTES, _sample_rows, index
from pipelines.search.voted import VotedReferences
from pipelines.store import fingerprints
from pipelines.store.catalogue import Catalogue
from tests.pipelines.ingest.test_segment import snapshot

pytestmark = pytest.mark.ray
torch = pytest.importorskip("torch")
TRACKS, WINDOWS, DIM = 30, 200, 16
CENTRES_S = np.arange(WINDOWS) * 0.5 + 2.0
INDEXED = Config(search=SearchConfig(exact_below_rows=1000, hits_per_window=5, nprobes=2))


def rows(track: int, seed: int) -> pa.RecordBatch:
    """A random walk on the sphere, like overlapping windows. The fourth row is silent."""
    rng = np.random.default_rng([seed, track])
    vectors = np.cumsum(rng.standard_normal((WINDOWS, DIM)), 0) * 0.2 + rng.standard_normal(DIM)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    columns = {
        "fingerprint_id": [f"{track}-{i}" for i in range(WINDOWS)],
        "track_id": [f"t{track:02d}"] * WINDOWS,
        "content_hash": [f"h{track}"] * WINDOWS,
        "window_index": pa.array(range(WINDOWS), pa.int32()),
        "start_s": np.arange(WINDOWS) * 0.5,
        "level_db": np.where(np.arange(WINDOWS) == 3, -90.0, -20.0).astype(np.float32),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.astype(np.float32).ravel()), DIM),
    }
    return pa.RecordBatch.from_pydict(columns, schema=schema.fingerprints(DIM))


@pytest.fixture()
def catalogue(ray_session: Any, tmp_path: Path) -> Iterator[Catalogue]:
    with random_walks(tmp_path / "c") as made:
        yield made


@contextlib.contextmanager
def random_walks(folder: Path) -> Iterator[Catalogue]:
    """A catalogue with a table of two fragments a track."""
    name = fingerprints.table_name("m")
    with Catalogue(str(folder), create=True).writing("test") as made:
        seen = fingerprints.create(made, name, DIM).version
        for track in range(TRACKS):
            batch = rows(track, 0)
            for half in (batch.slice(0, 100), batch.slice(100)):
                fragments = fingerprints.write_fragments(made, name, DIM, [half])
                seen = fingerprints.append(made, name, fragments, [f"t{track:02d}"], seen)
        yield made


def references(catalogue: Catalogue, hashes: dict[int, str] | None = None) -> References:
    content_hashes = [(hashes or {}).get(track, f"h{track}") for track in range(TRACKS)]
    ids = [f"t{track:02d}" for track in range(TRACKS)]
    table = catalogue.table(fingerprints.table_name("m"))
    assert table is not None
    durations_s = [WINDOWS * 0.5 + 3.5] * TRACKS
    columns = {"track_id": ids, "content_hash": content_hashes, "duration_s": durations_s}
    return References("m", table.version, pa.table(columns), 4.0, 0.5)


def test_a_small_table_is_compacted_once_and_searched_exactly(catalogue: Catalogue, tmp_path: Path) -> None:
    table = catalogue.table(fingerprints.table_name("m"))
    assert table is not None
    before = table.to_table()
    summary = index(catalogue, Config())
    assert (summary.tables[0].kind, summary.tables[0].compacted) == ("exact", True)
    assert "exact search" in str(summary)
    after = catalogue.table(fingerprints.table_name("m"))
    assert after is not None and len(after.get_fragments()) == 1
    assert after.to_table() == before  # and in the same order
    there = snapshot(tmp_path / "c")
    assert not index(catalogue, Config()).tables[0].compacted
    assert snapshot(tmp_path / "c") == there


def test_a_large_table_gets_an_index_whose_recall_is_told(catalogue: Catalogue) -> None:
    (made,) = index(catalogue, INDEXED).tables
    assert (made.kind, made.built, made.rows) == ("IVF_FLAT", True, TRACKS * WINDOWS)
    assert made.recall is not None and made.recall > 0.9
    assert f"recall@10 {made.recall:.3f}" in str(made)
    (again,) = index(catalogue, INDEXED).tables
    assert not again.built and again.recall == made.recall
    name = fingerprints.table_name("m")
    fragments = fingerprints.write_fragments(catalogue, name, DIM, [rows(77, 0)])
    fingerprints.append(catalogue, name, fragments, ["t77"], seen=0)
    (grown,) = index(catalogue, INDEXED).tables
    assert grown.built and grown.rows == (TRACKS + 1) * WINDOWS and grown.recall is not None and grown.recall > 0.9


def test_the_driver_neither_writes_the_compacted_rows_nor_builds_the_index(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 10^5 tracks it would rewrite 79 GB, and hold 4.8 GB of them for k-means."""
    for name in ("compact", "build"):
        monkeypatch.setattr(module, name, _in_a_task(getattr(module, name)))
    (made,) = index(catalogue, INDEXED).tables
    assert made.compacted and made.built and made.recall is not None


def _in_a_task(function: Callable[..., Any]) -> Callable[..., Any]:
    driver = os.getpid()

    @functools.wraps(function)
    def checked(*arguments: Any) -> Any:
        assert os.getpid() != driver
        return function(*arguments)

    return checked


@pytest.mark.parametrize("rows", [1000, 4_096_000, 1_500_000_000, 15_000_000_000])
def test_k_means_is_trained_on_as_many_rows_as_fit_in_memory(rows: int) -> None:
    taken = _sample_rows(rows, 128)
    assert taken * 128 * 4 <= max(SAMPLE_BYTES, LEAST_SAMPLE * rows / ROWS_PER_PARTITION * 128 * 4)
    assert taken >= min(rows, LEAST_SAMPLE * (rows // ROWS_PER_PARTITION))


def columns(hits: Hits, search: ExactReferences | IndexedReferences) -> dict[tuple[int, int, float], float]:
    """Maps (window, track, centre) to cosine."""
    track, centre_s = search.places(hits.row)
    keys = zip(hits.window.tolist(), track.tolist(), centre_s.tolist(), strict=True)
    return dict(zip(keys, hits.cosine.tolist(), strict=True))


def test_exact_and_indexed_references_find_the_same(catalogue: Catalogue) -> None:
    index(catalogue, INDEXED)
    chosen = references(catalogue, hashes={5: "changed since"})
    vectors = torch.tensor(rows(7, 0).column("vector").flatten().to_numpy()).view(WINDOWS, DIM)[:20:2]
    probed = torch.stack([vectors.roll(1, 1), vectors])
    queries = [Queries(probed, CENTRES_S[:10], own=None), Queries(probed, CENTRES_S[:10], own=7)]
    config = replace(INDEXED, search=replace(INDEXED.search, nprobes=100))
    exact = ExactReferences(catalogue, chosen, config)
    indexed = IndexedReferences(catalogue, chosen, config)
    for query, mine, theirs in zip(queries, exact.search(queries), indexed.search(queries), strict=True):
        cosines = columns(mine, exact)
        tracks = {track for _, track, _ in cosines}
        assert len(cosines) == 50 and 5 not in tracks and (7 in tracks) == (query.own is None)
        if query.own is None:
            # a window finds itself, by the second probe; but not the silent one
            itself = [(w, 7, 2.0 + w) for w in range(10)]
            assert [cosines[key] for key in itself] == pytest.approx([1.0] * 10, abs=1e-4)
            assert set(mine.probe[mine.cosine > 0.9999].tolist()) == {1}
        also = columns(theirs, indexed)
        for window in range(10):  # groups are counted otherwise, so only the best of each window has to be the same
            best = max((cosine, key) for key, cosine in cosines.items() if key[0] == window)
            assert best[0] == pytest.approx(max(c for key, c in also.items() if key[0] == window), abs=1e-4)
            assert best[1] in also
        z_score = {key: value for key, value in zip(also, theirs.z_score.tolist(), strict=True)}
        assert all(z_score[a] >= z_score[b] for a in also for b in also if a[0] == b[0] and also[a] > also[b])
        assert 5 not in {track for _, track, _ in also} and (7 in {t for _, t, _ in also}) == (query.own is None)


def test_rows_are_searched_in_the_order_of_the_tracks(catalogue: Catalogue) -> None:
    """Track 7 is the fifth of all, so it finds rows of four, and knows where they are."""
    order = np.roll(np.arange(TRACKS, dtype=np.int32), 3)
    ordered = ExactReferences(catalogue, replace(references(catalogue), order=order), INDEXED)
    vectors = torch.tensor(rows(7, 0).column("vector").flatten().to_numpy()).view(1, WINDOWS, DIM)[:, :20]
    (hits,) = ordered.search([Queries(vectors, CENTRES_S[:20], own=7)])
    found, _ = ordered.places(hits.row)
    assert set(found.tolist()) == {3, 4, 5, 6}
    rows_of_all: Any = catalogue.table(fingerprints.table_name("m"))
    table = rows_of_all.to_table()
    stored = np.stack(table["vector"].to_numpy(zero_copy_only=False))
    where = {
        (t, s): v for t, s, v in zip(table["track_id"].to_pylist(), table["start_s"].to_pylist(), stored, strict=True)
    }
    for window, cosine, track, centre_s in zip(hits.window, hits.cosine, *ordered.places(hits.row), strict=True):
        row = where[f"t{track:02}", centre_s - 2.0]
        assert cosine == pytest.approx(float(row @ vectors[0, window].numpy()), abs=1e-3)


def test_runs_of_other_tracks() -> None:
    tracks = np.array([0, 0, 1, 1, 1, -1, 0], np.int32)
    assert runs_without(tracks, 1) == [(0, 2), (5, 7)]
    assert runs_without(tracks, 0) == [(2, 6)]
    assert runs_without(tracks, None) == [(0, 7)]
    assert runs_without(tracks[:2], 0) == []


def test_a_worker_keeps_nothing_of_the_hits_of_earlier_queries(catalogue: Catalogue) -> None:
    index(catalogue, INDEXED)
    indexed = IndexedReferences(catalogue, references(catalogue), INDEXED)
    vectors = [torch.tensor(rows(t, 0).column("vector").flatten().to_numpy()).view(1, WINDOWS, DIM) for t in range(4)]
    indexed.search([Queries(vectors[0], CENTRES_S, own=None)])
    before = len(pickle.dumps({k: v for k, v in vars(indexed).items() if k not in ("_blocks", "_table")}))
    for some in vectors[1:]:
        indexed.search([Queries(some, CENTRES_S, own=None)])
    assert len(pickle.dumps({k: v for k, v in vars(indexed).items() if k not in ("_blocks", "_table")})) == before


def test_exact_search_is_not_made_where_the_index_or_votes_are_searched(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would hold 12 bytes for each row of the table."""
    index(catalogue, INDEXED)
    made: list[type] = []
    for kind in (ExactReferences, IndexedReferences, VotedReferences):
        monkeypatch.setattr(kind, "__init__", lambda self, *_, **__: made.append(type(self)))
    identifier = Identifier.__new__(Identifier)
    vars(identifier).update(_catalogue=catalogue, _references=references(catalogue), _config=INDEXED, _votes=None)
    assert isinstance(identifier._searched, IndexedReferences) and made == [IndexedReferences]
    vars(identifier).update(_votes=object())
    del vars(identifier)["_searched"]
    assert isinstance(identifier._searched, VotedReferences) and made == [IndexedReferences, VotedReferences]
