"""A corpus that changes: the incremental sweep finds the same as a full one."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from asid_core import schema
from asid_core.config import FirstPassConfig, ProbesConfig, ScoreConfig, SearchConfig
from asid_core.schema import TRACKS
from pipelines.reindex import ReindexSummary, reindex
from pipelines.search.sweep import sweep
from pipelines.store import covers, detections, fingerprints, maintenance
from pipelines.store.catalogue import Catalogue, CatalogueError
from pipelines.store.embedded import embedded
from pipelines.store.lease import Lease, LeaseError
from pipelines.store.pairs import as_tuples
from tests.conftest import write_audio
from tests.pipelines.catalogues import LINEAR, live_of, melody, newest_sweep, save_model
from tests.pipelines.ingest.test_segment import snapshot
from tests.pipelines.store.test_catalogue import track

pytestmark = pytest.mark.ray
# every hit and every reference is kept, so that a full sweep's limits leave nothing out
CONFIG = replace(
    LINEAR,
    probes=ProbesConfig((0.0,), (1.0,), 0.4),
    search=SearchConfig(hits_per_window=200, first_pass=FirstPassConfig(stride=0), shard_tracks=2),
    score=ScoreConfig(threshold=0.0),
)


# 48 windows: a multiple of what ExactSearch takes together, so the order of tracks in the table does not matter
SECONDS = 227 * 640 / 16_000


def write(folder: Path, name: str, waveform: np.ndarray) -> None:
    write_audio(folder / f"{name}.flac", waveform[:, None], 16_000)


def user_of(source: np.ndarray, seed: int) -> np.ndarray:
    """A track that plays seconds 2 to 7 of `source` from its own second 1."""
    waveform = melody(SECONDS, seed)
    waveform[16_000:96_000] = 0.2 * waveform[16_000:96_000] + source[32_000:112_000]
    return waveform


class Case:
    """A corpus of four tracks, and its catalogue after a first reindex."""

    def __init__(self, folder: Path) -> None:
        self.corpus, self.uri = folder / "corpus", str(folder / "c")
        self.weights = save_model(LINEAR, folder / "w")
        self.sources = {"source": melody(SECONDS, 1), "later": melody(SECONDS, 2)}
        write(self.corpus, "source", self.sources["source"])
        write(self.corpus, "user", user_of(self.sources["source"], 3))
        write(self.corpus, "other", melody(SECONDS, 4))
        write(self.corpus, "old", melody(SECONDS, 5))

    @property
    def catalogue(self) -> Catalogue:
        return Catalogue(self.uri, create=True, geometry=LINEAR.segment)

    def reindex(self, **more: Any) -> ReindexSummary:
        return reindex(str(self.corpus), self.catalogue, CONFIG, self.weights, **more)

    def counts(self, **more: Any) -> tuple[int, int, int, int, int]:
        summary = self.reindex(**more)
        return summary.new, summary.changed, summary.removed, summary.renamed, summary.embedded

    def found(self, sweep_id: str) -> dict[tuple[str, str], dict[str, Any]]:
        """The best detection of each pair that shares audio, both ways."""
        rows = detections.both_ways(detections.detections(self.catalogue, sweep_id), sweep_id).to_pylist()
        rows.sort(key=lambda row: row["score"])
        return {(r["query_id"], r["reference_id"]): r for r in rows if r["verify_score"] > 0.3}

    def fingerprinted(self) -> set[tuple[str, str]]:
        (name,) = fingerprints.tables(self.catalogue)
        return set(as_tuples(embedded(self.catalogue, name, self.catalogue.table(name))))


@pytest.fixture(scope="module")
def first(ray_session: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reindex")
    assert Case(folder).counts() == (4, 0, 0, 0, 4)
    return folder


@pytest.fixture()
def case(first: Path, tmp_path: Path) -> Case:
    shutil.copytree(first, tmp_path / "t", copy_function=shutil.copy2)
    again = Case.__new__(Case)
    again.__dict__.update(vars(Case(tmp_path / "fresh")) | {"corpus": first / "corpus", "uri": str(tmp_path / "t/c")})
    shutil.rmtree(tmp_path / "fresh")
    again.weights = str(tmp_path / "t/w")
    shutil.copytree(first / "corpus", tmp_path / "corpus", copy_function=shutil.copy2)
    again.corpus = tmp_path / "corpus"
    return again


SPANS = ("query_start_s", "query_end_s", "reference_start_s", "reference_end_s")


def assert_agree(some: dict[tuple[str, str], Any], others: dict[tuple[str, str], Any]) -> None:
    """The same pairs and spans.

    A pair may have been found from its other side, or what was copied among other tracks, so another of its hits was
    the strongest, and verification measured another excerpt (ARCHITECTURE.md): but it lies on the same line.
    """
    assert some.keys() == others.keys()
    for pair, row in some.items():
        names = (*SPANS, "tempo_ratio")
        assert [row[k] for k in names] == pytest.approx([others[pair][k] for k in names], abs=0.1), pair


def test_what_comes_and_goes_and_its_sweep_equals_a_full_one(case: Case) -> None:
    first = newest_sweep(case.catalogue)
    assert first is not None
    before = case.found(first)
    (case.corpus / "other.flac").unlink()
    (case.corpus / "source.flac").rename(case.corpus / "moved.flac")
    write(case.corpus, "old", user_of(case.sources["later"], 6))  # changed
    write(case.corpus, "later", case.sources["later"])
    write(case.corpus, "newest", user_of(case.sources["source"], 7))
    (case.corpus / "broken.mp3").write_bytes(b"no music" * 100)
    summary = case.reindex()
    assert (summary.new, summary.changed, summary.removed, summary.renamed, summary.embedded) == (2, 1, 1, 1, 3)
    assert summary.segmented.rejects == 1
    live = live_of(case.catalogue)
    assert {name.removesuffix(".flac") for name in live} == {"moved", "user", "old", "later", "newest"}
    assert case.fingerprinted() == set(live.items())
    assert summary.swept is not None
    incremental = case.found(summary.swept.sweep_id)
    wanted = {("user", "moved"), ("newest", "moved"), ("old", "later")}
    assert {tuple(name.removesuffix(".flac") for name in pair) for pair in incremental} >= wanted
    taken_over = incremental["user.flac", "moved.flac"], before["user.flac", "source.flac"]
    changed = ("reference_id", "sweep_id", "rank")
    assert len({tuple(v for k, v in row.items() if k not in changed) for row in taken_over}) == 1
    shutil.rmtree(Path(case.uri) / "detections")
    full = sweep(case.catalogue, CONFIG, case.weights)
    assert_agree(incremental, case.found(full.sweep_id))


def test_nothing_new_writes_nothing(case: Case) -> None:
    case.reindex()
    before = snapshot(Path(case.uri))
    assert case.counts() == (0, 0, 0, 0, 0)
    assert snapshot(Path(case.uri)) == before


def test_a_corpus_that_is_not_there_takes_nothing_away(case: Case) -> None:
    for file in sorted(case.corpus.iterdir())[:3]:
        file.unlink()
    before = live_of(case.catalogue)
    with pytest.raises(CatalogueError, match="3 of 4 tracks are no longer in .*--max-removed 1"):
        case.reindex()
    assert live_of(case.catalogue) == before
    assert case.counts(max_removed=1.0) == (0, 0, 3, 0, 0)


def test_two_runs_are_kept_apart(case: Case) -> None:
    with Lease(case.catalogue.location, "run"), pytest.raises(LeaseError, match="asid run"):
        case.reindex()


def test_orphans_go_after_a_grace_time_and_what_is_named_stays(case: Case) -> None:
    (case.corpus / "broken.mp3").write_bytes(b"no music" * 100)
    write(case.corpus, "other", melody(7.0, 9))
    case.reindex()
    named = set(p for batch in case.catalogue.tracks(columns=["segment_files"]) for p in batch[0].flatten().to_pylist())
    root = Path(case.uri)
    orphan = root / "segments/dead-run/part-x.parquet"
    orphan.parent.mkdir()
    shutil.copy(root / min(named), orphan)
    (case.corpus / "broken.mp3").unlink()
    case.reindex()
    assert case.catalogue.rejects().num_rows == 0 and list(root.glob("rejects/*/*.parquet"))
    for path in [*root.glob("rejects/*/*"), *root.glob("segments/*/*")]:
        os.utime(path, (0, 0))
    with case.catalogue.writing("test") as catalogue:
        assert maintenance.delete_orphans(catalogue, 1e12) == (0, 0)
    case.reindex()
    assert not orphan.exists() and not list(root.glob("rejects/*/*.parquet"))
    assert {str(p.relative_to(root)) for p in root.glob("segments/*/*.parquet")} == named


def test_sweeps_that_were_overtaken_or_never_ended_go_after_a_grace_time(tmp_path: Path) -> None:
    catalogue = Catalogue(str(tmp_path / "c"), create=True)
    for name, settings in (("1", "a"), ("2", "b"), ("3", "a"), ("4", None)):
        folder = detections.folder(catalogue, name)
        folder.join("part-000000.parquet").write_bytes(b"rows")
        if settings:
            folder.join(detections.HEAD).write_bytes(json.dumps({"sweep_id": name, "settings": settings}).encode())
    with catalogue.writing("test"):
        assert maintenance.delete_old_sweeps(catalogue, 60) == 0
        for path in (tmp_path / "c/detections").glob("*/*"):
            os.utime(path, (0, 0))
        assert maintenance.delete_old_sweeps(catalogue, 60) == 2
        assert detections.ids(catalogue) == ["2", "3"] and maintenance.delete_old_sweeps(catalogue, 60) == 0


def test_tables_are_compacted_and_fragments_of_killed_runs_go(tmp_path: Path) -> None:
    """Uncommitted fragments stay for seven days whatever the grace time, because a run may be about to commit them."""
    with Catalogue(str(tmp_path / "c"), create=True).writing("test") as catalogue:
        for n in range(3):
            catalogue.commit_tracks(pa.Table.from_pylist([track(f"{n}")], schema=TRACKS))
        name = fingerprints.table_name("m")
        fingerprints.create(catalogue, name, 4)
        fingerprints.write_fragments(catalogue, name, 4, [])
        row = {"fingerprint_id": "h-0", "track_id": "0", "content_hash": "h", "window_index": 0, "start_s": 0.0}
        rows = pa.RecordBatch.from_pylist([row | {"level_db": 0.0, "vector": [0.0] * 4}], schema=schema.fingerprints(4))
        fingerprints.write_fragments(catalogue, name, 4, [rows])  # and killed
        (orphan,) = (tmp_path / f"c/{name}.lance/data").iterdir()
        maintenance.clean_versions(catalogue, 0)
        table = catalogue.table("tracks")
        assert table is not None and len(table.get_fragments()) == 1 and catalogue.live().num_rows == 3
        assert len(list((tmp_path / "c/tracks.lance/data").iterdir())) == 1
        assert orphan.exists()
        week = time.time() - 8 * 86_400
        os.utime(orphan, (week, week))
        maintenance.clean_versions(catalogue, 0)
        assert not orphan.exists()


def test_covers_that_no_track_uses_go_after_a_grace_time(tmp_path: Path) -> None:
    with Catalogue(str(tmp_path / "c"), create=True).writing("test") as catalogue:
        used, unused = (covers.add(catalogue.location, jpeg) for jpeg in (b"one", b"other"))
        catalogue.commit_tracks(pa.Table.from_pylist([track("a") | {"cover": used}, track("b")], schema=TRACKS))
        maintenance.delete_orphans(catalogue, 60)
        assert covers.read(catalogue.location, unused) == b"other"
        for path in (tmp_path / "c/covers").iterdir():
            os.utime(path, (0, 0))
        maintenance.delete_orphans(catalogue, 60)
        assert covers.read(catalogue.location, used) == b"one" and covers.read(catalogue.location, unused) is None


def test_a_withdrawal_stays_as_long_as_what_it_withdraws(tmp_path: Path) -> None:
    with Catalogue(str(tmp_path / "c"), create=True).writing("test") as catalogue:
        row = {"uri": "u", "stage": "segment", "error_type": "empty", "error": "e"}
        catalogue.write_rejects("1", [{"track_id": "a", **row}, {"track_id": "b", **row}])
        catalogue.withdraw_rejects("2", ["a"])
        for path in (tmp_path / "c/rejects").glob("*/*"):
            os.utime(path, (0, 0))
        assert maintenance.delete_orphans(catalogue, 60) == (0, 0)
        assert catalogue.rejects()["track_id"].to_pylist() == ["b"]
        catalogue.withdraw_rejects("3", ["b"])
        for path in (tmp_path / "c/rejects").glob("*/*"):
            os.utime(path, (0, 0))
        assert maintenance.delete_orphans(catalogue, 60) == (0, 3)
