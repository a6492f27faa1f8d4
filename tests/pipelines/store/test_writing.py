"""Only the holder of the lease commits, and nothing is committed twice."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import lance
import pyarrow as pa
import pytest

from asid_core import schema
from asid_core.config import Config
from pipelines.search.index import index
from pipelines.store import detections, fingerprints, maintenance, tags
from pipelines.store.catalogue import Catalogue, CatalogueError
from pipelines.store.lease import Lease, LeaseError
from pipelines.store.models import drop_model
from tests.pipelines.catalogues import live_of
from tests.pipelines.ingest.test_segment import snapshot
from tests.pipelines.store.test_catalogue import reject, rows, track

TABLE = "fingerprints-m"


def fingerprint(track_id: str) -> pa.Table:
    row = {"fingerprint_id": track_id, "track_id": track_id, "content_hash": "h", "window_index": 0, "start_s": 0.0}
    return pa.Table.from_pylist([row | {"level_db": 0.0, "vector": [0.0] * 4}], schema=schema.fingerprints(4))


def written(catalogue: Catalogue, *track_ids: str) -> list[str]:
    """Uncommitted fragments with rows of these tracks."""
    batches = [batch for track_id in track_ids for batch in fingerprint(track_id).to_batches()]
    return fingerprints.write_fragments(catalogue, TABLE, 4, batches)


def present(catalogue: Catalogue) -> list[str]:
    table = catalogue.table(TABLE)
    assert table is not None
    return sorted(table.to_table()["track_id"].to_pylist())


@pytest.fixture()
def catalogue(tmp_path: Path) -> Catalogue:
    """One track, fingerprints of a removed track, and leftovers of a killed sweep."""
    made = Catalogue(str(tmp_path / "c"), create=True)
    with made.writing("run"):
        made.commit_tracks(rows(track("a")))
        fingerprints.create(made, TABLE, 4)
        made.upsert(TABLE, fingerprint("gone"), "fingerprint_id")
        made.location.join("detections", "old", "part-000000.parquet").write_bytes(b"x")
    return made


def suspend(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process was suspended for longer than its lease, and another run took the catalogue."""
    monkeypatch.setattr(catalogue._lease, "_clock", lambda: time.time() + 1000)
    lease = {"token": "theirs", "verb": "reindex", "host": "far", "processes": "x", "pid": 1}
    catalogue.location.join("lease.json").write_bytes(json.dumps(lease | {"expires": time.time() + 1e6}).encode())


COMMITS: dict[str, Callable[[Catalogue], object]] = {
    "tracks": lambda c: c.commit_tracks(rows(track("b"))),
    "delete": lambda c: c.delete_tracks(["a"]),
    "rejects": lambda c: c.write_rejects("r", [reject("x", "e")]),
    "withdraw": lambda c: c.withdraw_rejects("r", ["x"]),
    "record": lambda c: c.record_run("r", {}),
    "upsert": lambda c: c.upsert(TABLE, fingerprint("b"), "fingerprint_id"),
    "create": lambda c: fingerprints.create(c, "fingerprints-n", 4),
    "append": lambda c: fingerprints.append(c, TABLE, [], ["a"], 1),
    "sweep tracks": lambda c: detections.write_tracks(c, "s", c.tracks_of(["a"])),
    "sweep head": lambda c: detections.finish(c, {"sweep_id": "s"}),
    "renames": maintenance.apply_renames,
    "versions": lambda c: maintenance.clean_versions(c, 0),
    "orphans": lambda c: maintenance.delete_orphans(c, 0),
    "sweeps": lambda c: maintenance.delete_old_sweeps(c, -1),
    "tag": lambda c: tags.create(c, "t"),
    "migrate": Catalogue.migrate,
    "drop model": lambda c: drop_model(c, "m"),
    "index": lambda c: index(c, Config()),
}


@pytest.mark.parametrize("commit", COMMITS.values(), ids=COMMITS)
def test_a_run_that_lost_its_lease_commits_nothing(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, commit: Callable[[Catalogue], object]
) -> None:
    with catalogue.writing("embed"):
        suspend(catalogue, monkeypatch)
        before = snapshot(Path(catalogue.location.uri))
        with pytest.raises(LeaseError, match="lost its lease: asid reindex"):
            commit(catalogue)
        assert snapshot(Path(catalogue.location.uri)) == before
    assert catalogue.location.join("lease.json").exists()  # the other run's


@pytest.mark.parametrize("commit", [commit for name, commit in COMMITS.items() if name != "index"])
def test_a_catalogue_that_is_not_open_for_writing_is_not_changed(
    catalogue: Catalogue, commit: Callable[[Catalogue], object]
) -> None:
    before = snapshot(Path(catalogue.location.uri))
    with pytest.raises(CatalogueError, match="not open for writing"):
        commit(catalogue)
    assert snapshot(Path(catalogue.location.uri)) == before
    with catalogue.writing("test"):
        commit(catalogue)  # it is a commit


def test_a_suspended_run_that_nobody_followed_goes_on(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    with catalogue.writing("run"):
        monkeypatch.setattr(catalogue._lease, "_clock", lambda: time.time() + 1000)
        catalogue.commit_tracks(rows(track("b")))
    assert set(live_of(catalogue)) == {"a", "b"}


def test_the_stages_of_a_job_share_its_lease(catalogue: Catalogue) -> None:
    file = catalogue.location.join("lease.json")
    with catalogue.writing("run"):
        with catalogue.writing("embed"):
            assert json.loads(file.read_bytes())["verb"] == "run"
        assert file.exists()
        with pytest.raises(LeaseError, match="asid run"), Catalogue(catalogue.location.uri).writing("sweep"):
            pass
    assert not file.exists()
    with Lease(catalogue.location, "sweep"):
        pass


def test_a_commit_done_twice_is_refused(catalogue: Catalogue) -> None:
    with catalogue.writing("embed"):
        table = catalogue.table(TABLE)
        assert table is not None
        fragments = written(catalogue, "a", "b")
        fingerprints.append(catalogue, TABLE, fragments, ["a", "b"], table.version)
        for seen in (0, table.version):
            with pytest.raises(CatalogueError, match="already has fingerprints of (a|b)"):
                fingerprints.append(catalogue, TABLE, fragments, ["a", "b"], seen)
    assert present(catalogue) == ["a", "b", "gone"]


def test_a_commit_that_another_run_precedes_looks_again(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another run commits between our check and our commit. It matters only if it has the same tracks."""
    commit = lance.LanceDataset.commit

    def preceded(by: str) -> None:
        fragments = written(catalogue, by)
        operation = lance.LanceOperation.Append([lance.fragment.FragmentMetadata.from_json(f) for f in fragments])
        uri = catalogue.location.join(f"{TABLE}.lance").uri

        def late(*arguments: object, **options: object) -> object:
            monkeypatch.setattr(lance.LanceDataset, "commit", commit)
            table = catalogue.table(TABLE)
            assert table is not None
            commit(uri, operation, read_version=table.version)
            return commit(*arguments, **options)

        monkeypatch.setattr(lance.LanceDataset, "commit", late)

    with catalogue.writing("embed"):
        table = catalogue.table(TABLE)
        assert table is not None
        fragments = written(catalogue, "a")
        preceded(by="c")
        version = fingerprints.append(catalogue, TABLE, fragments, ["a"], table.version)
        fragments = written(catalogue, "b")
        preceded(by="b")
        with pytest.raises(CatalogueError, match="already has fingerprints of b"):
            fingerprints.append(catalogue, TABLE, fragments, ["b"], version)
    assert present(catalogue) == ["a", "b", "c", "gone"]
