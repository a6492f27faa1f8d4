"""Which tracks a fingerprint table holds: every fragment is read once, and the list follows every change."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from asid_core import schema
from pipelines.store import embedded as module
from pipelines.store import fingerprints, maintenance
from pipelines.store.catalogue import Catalogue
from pipelines.store.embedded import embedded
from pipelines.store.pairs import as_tuples

NAME = "fingerprints-m"


def rows(track_id: str, content_hash: str, windows: int = 2) -> pa.Table:
    found = [
        {"fingerprint_id": f"{content_hash}-{track_id}-{i}", "track_id": track_id, "content_hash": content_hash}
        | {"window_index": i, "start_s": 0.0, "level_db": -20.0, "vector": [0.0, 1.0]}
        for i in range(windows)
    ]
    return pa.Table.from_pylist(found, schema=schema.fingerprints(2))


def add(catalogue: Catalogue, *parts: pa.Table) -> None:
    """Append one fragment for each part."""
    seen = fingerprints.create(catalogue, NAME, 2).version
    written = [text for part in parts for text in fingerprints.write_fragments(catalogue, NAME, 2, part.to_batches())]
    fingerprints.append(catalogue, NAME, written, [], seen)


@pytest.fixture()
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    """Two tracks in a fragment, then one whose last window is alone in another fragment; open for writing."""
    with Catalogue(str(tmp_path / "c"), create=True).writing("test") as made:
        long = rows("c", "3")
        add(made, pa.concat_tables([rows("b", "2"), rows("a", "1")]), long.slice(0, 1), long.slice(1))
        yield made


@pytest.fixture()
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of fragments of each read of the table."""
    counts: list[int] = []
    listed = module._listed

    def counted(table: Any, keys: list[str], fragments: list[Any]) -> pa.Table:
        counts.append(len(fragments))
        return listed(table, keys, fragments)

    monkeypatch.setattr(module, "_listed", counted)
    return counts


def found(catalogue: Catalogue) -> list[tuple[str, str]]:
    return as_tuples(embedded(catalogue, NAME, catalogue.table(NAME)))


def test_only_fragments_that_are_new_are_read(catalogue: Catalogue, read: list[int]) -> None:
    assert embedded(catalogue, "fingerprints-none", None).num_rows == 0
    for _ in range(2):
        assert found(catalogue) == [("b", "2"), ("a", "1"), ("c", "3")]
    assert read == [3]
    add(catalogue, rows("d", "4"))
    assert found(Catalogue(catalogue.location.uri))[-1] == ("d", "4")
    assert found(catalogue)[-1] == ("d", "4")
    assert read == [3, 1, 1]  # without the lease nothing is kept


def test_the_list_follows_deletions_compaction_and_a_table_made_anew(catalogue: Catalogue, read: list[int]) -> None:
    assert len(found(catalogue)) == 3
    maintenance.drop(catalogue, NAME, [("a", "1")])
    assert found(catalogue) == [("b", "2"), ("c", "3")] and read == [3, 1]
    table = catalogue.table(NAME)
    assert table is not None
    table.optimize.compact_files()
    assert found(catalogue) == [("b", "2"), ("c", "3")]
    shutil.rmtree(catalogue.location.join(f"{NAME}.lance").uri)
    add(catalogue, rows("z", "9"))
    assert found(catalogue) == [("z", "9")]


def test_a_table_that_was_restored_and_lost_another_track_is_read_again(catalogue: Catalogue) -> None:
    """The fragment then has as many deleted rows as before, but other ones."""
    table = catalogue.table(NAME)
    assert table is not None
    maintenance.drop(catalogue, NAME, [("a", "1")])
    assert found(catalogue) == [("b", "2"), ("c", "3")]
    table.restore()
    maintenance.drop(catalogue, NAME, [("b", "2")])
    assert found(catalogue) == [("a", "1"), ("c", "3")]


@pytest.mark.parametrize("damage", [b"", b"no arrow file"])
def test_a_damaged_list_is_made_anew(catalogue: Catalogue, damage: bytes) -> None:
    before = found(catalogue)
    catalogue.location.join("embedded", f"{NAME}.arrow").write_bytes(damage)
    assert found(catalogue) == before


def test_a_dropped_track_keeps_its_other_audio_and_others_with_the_same_audio(catalogue: Catalogue) -> None:
    add(catalogue, rows("a", "2"), rows("c", "1"))
    maintenance.drop(catalogue, NAME, [("a", "1"), ("b", "2")])
    assert sorted(found(catalogue)) == [("a", "2"), ("c", "1"), ("c", "3")]


def test_the_index_on_track_ids_serves_where_tracks_are_dropped(catalogue: Catalogue) -> None:
    table = catalogue.table(NAME)
    assert table is not None
    table.create_scalar_index("track_id", "BTREE")
    table = catalogue.table(NAME)
    assert table is not None
    plan = table.scanner(filter=maintenance._is_pair([("a", "1"), ("b", "2")])).explain_plan()
    assert "ScalarIndexQuery" in plan and "track_id" in plan
