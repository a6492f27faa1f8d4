"""Named pipes in place of files: opening one would block for ever, so asid refuses it with an error."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jobs import cli
from pipelines.ingest.corpus import Corpus
from pipelines.store.catalogue import Catalogue
from pipelines.store.location import Location, StorageError
from tests.pipelines.fake_sweep import make

COMMANDS = {
    "a recording": ["compare", "{pipe}.wav", "{pipe}.wav"],
    "verdicts": ["review", "{pipe}.json", "--catalogue", "{catalogue}"],
    "a config": ["status", "--catalogue", "{catalogue}", "--config", "{pipe}.yaml"],
    "weights": ["status", "--catalogue", "{catalogue}", "--weights", "{weights}"],
    "a checkpoint": ["import-weights", "{pipe}.pth", "--output", "{pipe}-imported"],
    "a benchmark": ["bench", "run", "--bench", "{bench}"],
}
NAMES = ("pipe.wav", "pipe.json", "pipe.yaml", "pipe.pth", "w/config.json", "w/model.safetensors", "b/truth.json")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("what", COMMANDS)
def test_given_to_a_verb(what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(str(tmp_path / "c"))
    places = {
        "pipe": tmp_path / "pipe",
        "catalogue": tmp_path / "c",
        "weights": tmp_path / "w",
        "bench": tmp_path / "b",
    }
    for name in NAMES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        os.mkfifo(tmp_path / name)
    assert cli.main([word.format(**places) for word in COMMANDS[what]]) in (1, 2)
    told = capsys.readouterr().err
    assert "a bug" not in told and any(str(places[place]) in told for place in ("pipe", "weights", "bench")), told


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["music.csv", "music.jsonl", "music.parquet"])
def test_as_a_manifest(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(StorageError, match=f"{name} is a pipe"):
        list(Corpus(str(tmp_path / name)))


@pytest.mark.timeout(60)
def test_as_a_lease(tmp_path: Path) -> None:
    catalogue = Catalogue(str(tmp_path / "c"), create=True)
    os.mkfifo(tmp_path / "c/lease.json")
    with pytest.raises(StorageError, match="lease.json is a pipe"), catalogue.writing("test"):
        pass


@pytest.mark.timeout(60)
def test_as_any_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x")
    for use in (Location.read_bytes, Location.stat, lambda place: place.open().__enter__()):
        with pytest.raises(StorageError, match="x is a pipe"):
            use(Location(str(tmp_path / "x")))
