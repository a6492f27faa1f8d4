"""Tags keep a state of a catalogue; dropping a model and migrating leave the rest as it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from asid_core import schema
from jobs import cli
from jobs.command import DONE, FAILED, USAGE
from pipelines.store import detections, embedded, fingerprints, maintenance, tags
from pipelines.store.catalogue import Catalogue
from pipelines.store.errors import CatalogueError
from pipelines.store.models import drop_model
from tests.faults.contents import assert_equal, contents
from tests.pipelines import fake_sweep

NEW, OLD = "20260102T000000Z-sweep", "20260101T000000Z-sweep"


def add_fingerprints(catalogue: Catalogue, model_id: str, track_ids: Sequence[str]) -> None:
    """Three random windows of each track."""
    name = fingerprints.table_name(model_id)
    table = fingerprints.create(catalogue, name, 4)
    rng = np.random.default_rng(len(model_id))
    known = pa.Table.from_batches(catalogue.tracks(columns=["track_id", "content_hash"])).to_pylist()
    hashes = {row["track_id"]: row["content_hash"] for row in known}
    rows = [
        {
            "fingerprint_id": f"{t}-{i}",
            "track_id": t,
            "content_hash": hashes[t],
            "window_index": i,
            "start_s": float(i),
            "level_db": 0.0,
            "vector": rng.random(4),
        }
        for t in track_ids
        for i in range(3)
    ]
    batch = pa.Table.from_pylist(rows, schema=schema.fingerprints(4)).combine_chunks().to_batches()
    fragments = fingerprints.write_fragments(catalogue, name, 4, batch)
    fingerprints.append(catalogue, name, fragments, track_ids, table.version)


@pytest.fixture(params=["disk", "s3"])
def uri(request: pytest.FixtureRequest, tmp_path: Path, s3_bucket: str) -> str:
    return f"{s3_bucket}/c" if request.param == "s3" else str(tmp_path / "c")


@pytest.fixture()
def catalogue(uri: str) -> Catalogue:
    """Four tracks in two part files, fingerprints of models `old` and `new`, a sweep of each."""
    made = Catalogue(uri, create=True, geometry=fake_sweep.GEOMETRY)
    for names in ("ab", "cd"):
        fake_sweep.add_tracks(made, {name: fake_sweep.wave(ord(name), 6.0) for name in names}, part=names)
    with made.writing("test"):
        for model_id, sweep_id in (("old", OLD), ("new", NEW)):
            add_fingerprints(made, model_id, "abcd")
            fake_sweep.add_sweep(made, [fake_sweep.detection("a", "c")], sweep_id, model_id=model_id, settings=model_id)
    return made


def shrink(catalogue: Catalogue) -> None:
    """Remove half of the tracks and a sweep, then delete whatever is not needed any more, without a day of grace."""
    with catalogue.writing("test"):
        catalogue.delete_tracks(["c", "d"])
        maintenance.apply_renames(catalogue)
        fake_sweep.add_sweep(catalogue, [], "20260103T000000Z-sweep", model_id="new", settings="new")
        maintenance.clean_versions(catalogue, 0)
        maintenance.delete_orphans(catalogue, -60)
        maintenance.delete_old_sweeps(catalogue, -60)


def test_a_tag_keeps_tracks_audio_fingerprints_and_sweeps_until_it_is_removed(catalogue: Catalogue, uri: str) -> None:
    before = contents(uri)
    with catalogue.writing("test"):
        tags.create(catalogue, "good")
    shrink(catalogue)
    assert sorted(contents(uri).tracks) == ["a", "b"]
    with catalogue.writing("test"):
        tags.restore(catalogue, "good")
    assert_equal(contents(uri), before)
    assert detections.ids(catalogue) == [OLD, NEW]
    shrink(catalogue)
    with catalogue.writing("test"):
        tags.remove(catalogue, "good")
    assert tags.all_tags(catalogue) == []
    shrink(catalogue)
    assert NEW not in detections.ids(catalogue)
    assert not any("cd" in entry.name for entry in catalogue.location.join("segments").list() if entry.kind == "file")
    with pytest.raises(CatalogueError, match="There are no tags"), catalogue.writing("test"):
        tags.restore(catalogue, "good")


def test_a_restored_version_is_not_taken_for_the_later_one(catalogue: Catalogue) -> None:
    """Both lose as many rows of the same fragment."""

    def tracks_after_removing(track_id: str) -> list[str]:
        maintenance.drop(catalogue, "fingerprints-new", [(track_id, f"hash of {track_id!r}")])
        found = embedded.embedded(catalogue, "fingerprints-new", catalogue.table("fingerprints-new"))
        return sorted(found["track_id"].to_pylist())

    with catalogue.writing("test"):
        tags.create(catalogue, "good")
        assert tracks_after_removing("a") == ["b", "c", "d"]
        tags.restore(catalogue, "good")
        assert tracks_after_removing("b") == ["a", "c", "d"]


def test_a_tag_of_a_killed_run_is_made_again(catalogue: Catalogue) -> None:
    table: Any = catalogue.table("tracks")
    table.tags.create("good", table.version)
    with catalogue.writing("test"):
        catalogue.delete_tracks(["d"])
        tag = tags.create(catalogue, "good")
        assert tag["tables"]["tracks"] > table.version
        with pytest.raises(CatalogueError, match="already"):
            tags.create(catalogue, "good")
        catalogue.location.join("tags", "good.json").delete()  # as `remove` leaves it when it is killed
        tags.remove(catalogue, "good")
        assert "good" not in catalogue.table("tracks").tags.list()  # type: ignore[union-attr]
        for name in ("", "../x", "a b", "x" * 101):
            with pytest.raises(CatalogueError, match="no name"):
                tags.create(catalogue, name)


def test_a_model_in_use_or_in_a_tag_is_not_dropped(catalogue: Catalogue, uri: str) -> None:
    with catalogue.writing("test"):
        with pytest.raises(CatalogueError, match="models are: new, old"):
            drop_model(catalogue, "linear")
        with pytest.raises(CatalogueError, match="in use"):
            drop_model(catalogue, "new")
        tags.create(catalogue, "good")
        with pytest.raises(CatalogueError, match="tags keep model old: good"):
            drop_model(catalogue, "old")
        tags.remove(catalogue, "good")
        before = contents(uri)
        freed, sweeps = drop_model(catalogue, "old")
    assert freed > 0 and sweeps == 1 and detections.ids(catalogue) == [NEW]
    assert not any("-old" in entry.name for entry in catalogue.location.list())
    assert fingerprints.tables(catalogue) == ["fingerprints-new"]
    before.fingerprints.pop("fingerprints-old")
    assert_equal(contents(uri), before)


def test_dropping_a_model_goes_on_where_it_was_killed(catalogue: Catalogue) -> None:
    versions = catalogue.location.join("fingerprints-old.lance", "_versions")
    for entry in list(versions.list()):
        versions.join(entry.name).delete()
    with catalogue.writing("test"):
        maintenance.apply_renames(catalogue)  # others are not disturbed
        maintenance.clean_versions(catalogue, 0)
        drop_model(catalogue, "old")
    assert fingerprints.tables(catalogue) == ["fingerprints-new"]


def older(catalogue: Catalogue) -> None:
    """Make it one of an asid that knew no tags, and whose tracks had no level."""
    head = catalogue.location.join("catalogue.json")
    head.write_bytes(json.dumps(json.loads(head.read_bytes()) | {"format": 1}).encode())
    table: Any = catalogue.table("tracks")
    table.drop_columns(["level_db"])


def test_an_older_catalogue_is_read_and_migrated(catalogue: Catalogue, uri: str) -> None:
    older(catalogue)
    was = contents(uri)
    assert len(was.tracks) == 4
    for code, said in ((DONE, 1), (DONE, 2)):
        assert cli.main(["maintain", "migrate", "--catalogue", uri]) == code, said
    now = Catalogue(uri)
    table = now.table("tracks")
    assert now.geometry.format == 2 and table is not None and "level_db" in table.schema.names
    assert_equal(contents(uri), was)


def test_a_tag_migrates_so_that_an_older_asid_cannot_clean_it_up(catalogue: Catalogue, uri: str) -> None:
    older(catalogue)
    assert cli.main(["maintain", "tag", "good", "--catalogue", uri]) == DONE
    assert Catalogue(uri).geometry.format == 2


def test_a_newer_catalogue_names_the_way_out(catalogue: Catalogue) -> None:
    head = catalogue.location.join("catalogue.json")
    head.write_bytes(json.dumps(json.loads(head.read_bytes()) | {"format": 3}).encode())
    with pytest.raises(CatalogueError, match="format 3, but this asid reads formats up to 2. Install a newer asid"):
        Catalogue(catalogue.location.uri)


def test_the_verb_says_what_it_did(catalogue: Catalogue, uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    at = ["--catalogue", uri]
    for words, code, said in (
        (["tag", "good"], DONE, "tag good keeps 3 tables and 2 sweeps"),
        (["tag", "good"], FAILED, "there is a tag 'good' already"),
        (["tags"], DONE, "1 tag\n"),
        (["tags", "--format", "json"], DONE, '"sweeps": 2'),
        (["tags", "--format", "csv"], DONE, "tag,created,tables,sweeps\ngood,"),
        (["drop-model", "old"], FAILED, "tags keep"),
        (["restore", "good"], DONE, "restored to tag good"),
        (["untag", "better"], FAILED, "The tags are good."),
        (["untag", "good"], DONE, "tag good removed"),
        (["drop-model", "old"], DONE, "model old dropped"),
        (["tag"], USAGE, "needs a NAME"),
        (["tags", "good"], USAGE, "takes no NAME"),
    ):
        assert cli.main(["maintain", *words, *at]) == code, words
        told = capsys.readouterr()
        assert said in told.out + told.err, words


def test_a_copy_of_the_files_is_a_backup(tmp_path: Path) -> None:
    """As docs/for-operators.md says: `aws s3 sync`, `rclone` or `cp -r`, while no run is at work."""
    made = fake_sweep.make(str(tmp_path / "c"))
    with made.writing("test"):
        add_fingerprints(made, "m", ["b/old.wav", "b/young.wav"])
        tags.create(made, "good")
    before = contents(str(tmp_path / "c"))
    shutil.copytree(tmp_path / "c", tmp_path / "elsewhere/backup")
    shutil.rmtree(tmp_path / "c")
    backup = Catalogue(str(tmp_path / "elsewhere/backup"))
    assert_equal(contents(backup.location.uri), before)
    with backup.writing("test"):
        backup.delete_tracks(["b/old.wav"])
        tags.restore(backup, "good")
    assert_equal(contents(backup.location.uri), before)
