from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lance
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asid_core.config import SegmentConfig
from asid_core.schema import TRACKS
from pipelines.store import s3
from pipelines.store.catalogue import Catalogue, CatalogueError, new_run_id
from pipelines.store.errors import StoreFailure
from pipelines.store.location import Location
from tests.conftest import s3_environment
from tests.pipelines.catalogues import live_of


def track(track_id: str, content_hash: str = "h", **more: Any) -> dict[str, Any]:
    row = {"track_id": track_id, "uri": "/m/" + track_id, "content_hash": content_hash, "size_bytes": 1, "version": "1"}
    row |= {"duration_s": 2.0, "num_segments": 1, "segment_files": ["segments/r/p.parquet"], "run_id": "r"}
    return row | more


def rows(*tracks: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(tracks), schema=TRACKS)


def reject(track_id: str, error: str, **more: Any) -> dict[str, Any]:
    return {"track_id": track_id, "uri": "u", "stage": "segment", "error_type": "t", "error": error} | more


@pytest.fixture(params=["local", "s3"])
def catalogue(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Catalogue]:
    """A catalogue open for writing."""
    where = str(tmp_path) if request.param == "local" else request.getfixturevalue("s3_bucket")
    with Catalogue(where + "/catalogue", create=True).writing("test") as made:
        yield made


def test_commit_replaces_by_key_and_delete_removes(catalogue: Catalogue) -> None:
    assert live_of(catalogue) == {} and list(catalogue.tracks()) == []
    catalogue.commit_tracks(rows(track("a", "1"), track("it's", "2", year=1990)))
    catalogue.commit_tracks(rows(track("a", "3"), track("c", "4", title="T")))
    assert live_of(catalogue) == {"a": "3", "it's": "2", "c": "4"}
    assert catalogue.tracks_of(["it's", "nobody"]).column("year").to_pylist() == [1990]
    found = [b.to_pylist() for b in catalogue.tracks(columns=["title"], filter="track_id = 'c'")]
    assert found == [[{"title": "T"}]]
    catalogue.delete_tracks(["it's", "nobody"])
    assert set(live_of(catalogue)) == {"a", "c"} and catalogue.count_tracks() == 2


def test_a_catalogue_of_an_older_asid_is_read_and_gets_the_new_columns(catalogue: Catalogue) -> None:
    older = TRACKS.names[: TRACKS.names.index("album")]
    catalogue.upsert("tracks", rows(track("a", title="T")).select(older), on="track_id")
    (row,) = catalogue.tracks_of(["a"]).to_pylist()
    assert (row["title"], row["label"], row["manifest"]) == ("T", None, None)
    assert [b.to_pylist() for b in catalogue.tracks(columns=["label", "track_id"])] == [
        [{"label": None, "track_id": "a"}]
    ]
    catalogue.commit_tracks(rows(track("b", label="L")))
    found = {row["track_id"]: row["label"] for row in catalogue.tracks_of(["a", "b"]).to_pylist()}
    assert found == {"a": None, "b": "L"}


def test_rejects_that_stand_are_the_latest_of_tracks_that_are_not_live(catalogue: Catalogue) -> None:
    assert catalogue.rejects().num_rows == 0
    catalogue.write_rejects("2026-1", [reject("a", "old"), reject("b", "x"), reject("c", "y"), reject("d", "z")])
    catalogue.write_rejects("2026-2", [reject("a", "new", size_bytes=3, version="7")])
    catalogue.commit_tracks(rows(track("b")))
    catalogue.withdraw_rejects("2026-2", ["c"])
    standing = {r["track_id"]: (r["error"], r["version"]) for r in catalogue.rejects().to_pylist()}
    assert standing == {"a": ("new", "7"), "d": ("z", None)}


def test_opening_checks_presence_format_and_geometry(tmp_path: Path) -> None:
    where = str(tmp_path / "c")
    with pytest.raises(CatalogueError, match="asid segment"):
        Catalogue(where)
    assert Catalogue(where, create=True, geometry=SegmentConfig(core_s=10.24)).geometry.core_samples == 163_840
    assert Catalogue(where).geometry.margin_samples == 96_000
    with pytest.raises(CatalogueError, match="--set segment.core_s=10.24 --set segment.margin_s=6"):
        Catalogue(where, create=True, geometry=SegmentConfig())
    (tmp_path / "c" / "catalogue.json").write_text('{"format": 99}')
    with pytest.raises(CatalogueError, match="format 99"):
        Catalogue(where)


def test_runs_are_kept_in_order(catalogue: Catalogue) -> None:
    for number in range(2):
        catalogue.record_run(f"2026-{number}", {"verb": "segment", "outcome": "done"})
    assert [r["run_id"] for r in catalogue.runs()] == ["2026-0", "2026-1"]
    assert new_run_id("segment") < "3" and new_run_id("embed") != new_run_id("embed")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "null",
        "hello",
        "[" * 50_000,
        '{"format": 1}',
        '{"format": 1, "core_samples": -5, "margin_samples": 0}',
        '{"format": 1, "core_samples": 1e18, "margin_samples": 96000}',
        '{"format": 1, "core_samples": "491520", "margin_samples": 96000}',
        '{"format": 1, "core_samples": 491520, "margin_samples": null}',
    ],
)
def test_a_damaged_head_is_named(tmp_path: Path, text: str) -> None:
    Catalogue(str(tmp_path), create=True)
    (tmp_path / "catalogue.json").write_text(text)
    with pytest.raises(CatalogueError, match="catalogue.json (is damaged|has format)"):
        Catalogue(str(tmp_path))


def test_a_disk_without_hard_links_is_refused_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Catalogue(str(tmp_path / "copied"), create=True)

    def link(*_: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(CatalogueError, match="needs hard links.*another disk or on s3://"):
        Catalogue(str(tmp_path / "new"), create=True)
    assert list((tmp_path / "new").iterdir()) == []
    with pytest.raises(CatalogueError, match="needs hard links"), made.writing("run"):
        pass
    assert [path.name for path in (tmp_path / "copied").iterdir()] == ["catalogue.json"]


@pytest.fixture()
def silent_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A store that accepts connections and requests and never answers. Clients give up after a moment."""
    for name, value in s3_environment("").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(s3, "ANSWER_S", 0.2)
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:  # the kernel takes them
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
        yield


@pytest.mark.usefixtures("silent_store")
@pytest.mark.parametrize(
    "use",
    [
        lambda place: place.join("x").read_bytes(),
        lambda place: place.join("x").write_bytes(b"1"),
        lambda place: place.join("x").write_if(b"1", None),
        lambda place: list(place.list()),
        lambda place: place.folders(),
        lambda place: pq.write_table(rows(track("a")), place.join("x").uri[5:], filesystem=place.arrow()[0]),
        lambda place: Catalogue(place.uri, create=True),
        lambda place: lance.write_dataset(rows(track("a")), place.lance()[0], storage_options=place.lance()[1]),
    ],
    ids=["read", "write", "lease", "list", "folders", "arrow", "catalogue", "lance"],
)
def test_a_store_that_never_answers_is_given_up(use: Callable[[Location], object]) -> None:
    with pytest.raises(OSError):
        use(Location("s3://bucket/c"))


@pytest.mark.usefixtures("silent_store")
def test_a_table_in_a_store_that_never_answers_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    catalogue = Catalogue(str(tmp_path / "c"), create=True)
    catalogue.location = Location("s3://bucket/c")
    with pytest.raises(StoreFailure, match="s3://bucket/c/tracks.lance"):
        catalogue.table("tracks")


def test_tracks_are_looked_up_by_the_index_or_in_one_pass(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scan for every thousand tracks took 207 s at 10^6."""
    catalogue.commit_tracks(rows(*(track(f"{n}") for n in range(5))))
    catalogue.index_tracks()
    table = catalogue.table("tracks")
    assert table is not None and not table.list_indices()  # too few tracks
    monkeypatch.setattr("pipelines.store.catalogue.INDEXED_TRACKS", 1)
    catalogue.index_tracks()
    catalogue.commit_tracks(rows(track("5"), track("0", "changed")))
    catalogue.index_tracks()  # of what is new
    table = catalogue.table("tracks")
    assert table is not None and "ScalarIndexQuery" in table.scanner(filter="track_id IN ('0', '4')").explain_plan()
    for limit in (1000, 1):
        monkeypatch.setattr("pipelines.store.catalogue.IDS_PER_FILTER", limit)
        found = catalogue.tracks_of(["5", "0", "4", "nobody"])
        assert dict(zip(found["track_id"].to_pylist(), found["content_hash"].to_pylist(), strict=True)) == {
            "0": "changed",
            "4": "h",
            "5": "h",
        }
    assert catalogue.tracks_of([]).num_rows == 0
