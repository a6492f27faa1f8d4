"""The files of ../shared/cases, from the command line to the tables: the result is what its README says."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest

from jobs import cli
from pipelines.store.catalogue import Catalogue
from tests.jobs.case_files import copied, make

pytestmark = pytest.mark.ray
LENGTHS_S = {
    "audio/chained.ogg": 15.0, "audio/concat.mp3": 15.0, "audio/art.mp3": 12.0, "audio/ape.mp3": 12.0,
    "audio/rate.mp3": 12.0, "audio/antiphase.flac": 12.0, "quiet/quiet.flac": 12.0, "quiet/same-not-quiet.flac": 12.0,
}  # fmt: skip


@pytest.fixture(scope="module", params=["made here", pytest.param("../shared/cases", marks=pytest.mark.slow)])
def cases(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cases")
    folder_of_cases = make(folder / "cases") if request.param == "made here" else copied(folder / "cases")
    if folder_of_cases is None:
        pytest.skip("../shared/cases is not here")
    return folder_of_cases


def tracks(catalogue: Path) -> dict[str, dict[str, Any]]:
    return {row["track_id"]: row for batch in Catalogue(str(catalogue)).tracks() for row in batch.to_pylist()}


@pytest.fixture(scope="module")
def catalogue(cases: Path, ray_session: Any) -> tuple[Path, list[dict[str, Any]]]:
    """The catalogue of all recordings, and the places printed by `run`."""
    where = cases.parent / "catalogue"
    corpus = cases.parent / "corpus"
    corpus.mkdir()
    for name in ("audio", "quiet"):
        (corpus / name).symlink_to(cases / name)
    said = io.StringIO()
    words = ["--corpus", str(corpus), "--catalogue", str(where), "--format", "json"]
    with contextlib.redirect_stdout(said):
        assert cli.main(["run", *words, "--set", "segment.follow_links=true"]) == 0
    return where, json.loads(said.getvalue())


def test_all_of_every_recording_is_read(catalogue: tuple[Path, list[dict[str, Any]]]) -> None:
    by_name = tracks(catalogue[0])
    assert {name: row["duration_s"] for name, row in by_name.items()} == pytest.approx(LENGTHS_S, abs=0.1)
    assert Catalogue(str(catalogue[0])).rejects().num_rows == 0
    assert by_name["audio/antiphase.flac"]["level_db"] > -30
    assert by_name["quiet/quiet.flac"]["level_db"] == pytest.approx(-55, abs=1.0)


def test_the_soft_copy_is_found_by_the_run(catalogue: tuple[Path, list[dict[str, Any]]]) -> None:
    pair = {"quiet/quiet.flac", "quiet/same-not-quiet.flac"}
    places = [row for row in catalogue[1] if {row["query_id"], row["reference_id"]} == pair]
    assert places and places[0]["score"] > 0.7, catalogue[1]


@pytest.mark.parametrize(
    ("file", "reference"),
    [
        ("quiet/quiet.flac", "quiet/same-not-quiet.flac"),
        ("audio/antiphase.flac", "audio/antiphase.flac"),
    ],
)
def test_a_query_finds_the_copy(
    cases: Path,
    catalogue: tuple[Path, list[dict[str, Any]]],
    file: str,
    reference: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["query", str(cases / file), "--catalogue", str(catalogue[0]), "--format", "json"]) == 0
    relations = json.loads(capsys.readouterr().out)
    assert reference in {name for row in relations for name in (row["query_id"], row["reference_id"])}, relations


def of_manifest(cases: Path, name: str, catalogue: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    manifest = cases / "manifest" / name
    manifest.write_bytes(manifest.read_bytes().replace(b"/PATH/TO/manifest", str(cases / "manifest").encode()))
    code = cli.main(["segment", "--corpus", str(manifest), "--catalogue", str(catalogue)])
    return code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "titles", "years"),
    [
        ("file-uri.csv", ["percent-encoded"], [None]),
        ("years.csv", ["A", "B", "C"], [1994, 1994, 1970]),
        ("newline-title.csv", ["two lines"], [None]),
    ],
)
def test_a_manifest_is_read(
    ray_session: Any, cases: Path, name: str, titles: list[str], years: list[int | None], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    code, told = of_manifest(cases, name, tmp_path / "c", capsys)
    assert code == 0, told
    rows = [row for _, row in sorted(tracks(tmp_path / "c").items())]
    assert ([row["title"] for row in rows], [row["year"] for row in rows]) == (titles, years)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("latin1.csv", ["title", "Save the manifest as UTF-8"]),
        ("open-quote.csv", ["line 2"]),
        ("long-field.csv", ["title", "140,000"]),
    ],
)
def test_a_manifest_is_refused_in_words(
    ray_session: Any, cases: Path, name: str, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told = of_manifest(cases, name, tmp_path / "c", capsys)
    reasons = " ".join([told, *Catalogue(str(tmp_path / "c")).rejects()["error"].to_pylist()])
    assert code == 1 and "a bug" not in told
    assert all(word in reasons for word in words), reasons
    assert "song 1.flac" not in tracks(tmp_path / "c")
