from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.store.location import Location, StorageError


@pytest.fixture(params=["local", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    return (
        Location(str(tmp_path))
        if request.param == "local"
        else Location(request.getfixturevalue("s3_bucket")).join("a")
    )


def test_bytes_round_trip_and_versions_change(root: Location) -> None:
    place = root.join("x", "ü y.json")
    assert not place.exists()
    place.write_bytes(b"one")
    first = place.stat()
    place.write_bytes(b"three")
    assert place.read_bytes() == b"three"
    assert place.stat().size_bytes == 5
    assert place.stat().version != first.version
    place.delete()
    place.delete()
    assert not place.exists()
    with pytest.raises(FileNotFoundError):
        place.read_bytes()


def test_list_is_recursive_and_sized(root: Location) -> None:
    for name in ("b.wav", "folder/a.wav", "folder/deep/c.wav"):
        root.join(name).write_bytes(name.encode())
    files = {e.name: e.size_bytes for e in root.list() if e.kind == "file"}
    assert files == {"b.wav": 5, "folder/a.wav": 12, "folder/deep/c.wav": 17}
    assert all(e.version for e in root.list() if e.kind == "file")
    assert root.is_folder()
    assert not root.join("nothing").is_folder()
    assert list(root.join("nothing").list()) == []


def test_a_failed_write_leaves_nothing(root: Location) -> None:
    with pytest.raises(RuntimeError), root.join("part.parquet").writing() as stream:
        stream.write(b"half")
        raise RuntimeError
    assert [e.name for e in root.list()] == []


def test_local_copy_keeps_the_extension(root: Location) -> None:
    root.join("a.flac").write_bytes(b"bytes")
    with root.join("a.flac").local_copy() as path:
        assert path.endswith(".flac")
        assert Path(path).read_bytes() == b"bytes"


def test_lance_and_arrow_handles_work(root: Location) -> None:
    import lance

    uri, options = root.join("t.lance").lance()
    lance.write_dataset(pa.table({"a": [1, 2]}), uri, storage_options=options)
    assert lance.dataset(uri, storage_options=options).count_rows() == 2
    filesystem, path = root.join("t.lance").arrow()
    assert filesystem.get_file_info(path).type.name == "Directory"


@pytest.mark.parametrize("uri", ["gs://bucket/x", "s3://", "http://host/x"])
def test_other_schemes_are_refused(uri: str) -> None:
    with pytest.raises(StorageError, match="s3://"):
        Location(uri)


def test_links_that_loop_or_lead_nowhere_end(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "song.wav").write_bytes(b"x")
    (tmp_path / "a" / "again").symlink_to(tmp_path / "a")
    (tmp_path / "gone.wav").symlink_to(tmp_path / "nowhere")
    kinds = {e.name: e.kind for e in Location(str(tmp_path)).list()}
    assert kinds == {"a": "folder", "a/again": "folder", "a/song.wav": "file", "gone.wav": "unreadable"}


def test_relative_and_home_paths_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert Location("x/../y").uri == os.path.join(os.getcwd(), "y")
    assert Location("s3://bucket/a/").join("b").uri == "s3://bucket/a/b"
    assert Location("s3://bucket/a/b").parent == Location("s3://bucket/a")


def test_s3_that_cannot_be_reached_or_used_says_so(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StorageError, match="NoSuchBucket"):
        list(Location("s3://no-such-bucket/x").list())
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(StorageError, match="AWS_ENDPOINT_URL"):
        Location(s3_bucket).join("x").read_bytes()


def test_a_failed_rewrite_leaves_what_was_there(root: Location) -> None:
    place = root.join("findings.csv")
    place.write_bytes(b"old")
    with pytest.raises(RuntimeError), place.writing() as stream:
        stream.write(b"x" * (9 << 20))  # more than one part of an upload
        raise RuntimeError
    assert place.read_bytes() == b"old"
    with place.writing() as stream:
        stream.write(b"new" * (3 << 20))
    assert place.stat().size_bytes == 9 << 20
    assert [e.name for e in root.list()] == ["findings.csv"]


def test_folders_are_those_right_below(root: Location) -> None:
    assert root.folders() == []
    for name in ("b/x/1", "a/2", "file"):
        root.join(name).write_bytes(b"")
    assert root.folders() == ["a", "b"]
    assert root.join("b").folders() == ["x"]
    assert root.join("nothing").folders() == []


@pytest.mark.parametrize("on_s3", [False, True])
def test_many_files_are_deleted_with_few_requests(
    on_s3: bool, s3_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Location(f"{s3_bucket}/x" if on_s3 else str(tmp_path / "x"))
    names = [f"a/{n}" for n in range(7)]
    for name in [*names, "kept"]:
        place.join(name).write_bytes(b"1")
    monkeypatch.setattr("pipelines.store.location.DELETED_AT_ONCE", 3)
    place.delete_below([*names, "never there"])
    assert [entry.name for entry in place.list() if entry.kind == "file"] == ["kept"]
    place.delete_below([])
