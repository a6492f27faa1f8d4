"""The report's files: which findings are shown, which audio is cut out, and which files are replaced."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import soundfile

from asid_core.config import Config, ReportConfig
from asid_core.schema import TRACKS
from jobs import cli
from pipelines.report import listening, snippets
from pipelines.report.findings import Track, newest_findings, newest_sweep, shorten
from pipelines.report.page import report
from pipelines.store import covers
from pipelines.store.catalogue import Catalogue, CatalogueError
from pipelines.store.location import Location
from tests.pipelines import fake_sweep
from tests.pipelines.fake_sweep import add_sweep, detection
from tests.pipelines.pictures import picture


def calls(place: Location, name: str) -> list[Any]:
    """The values that a data script passes to the page."""
    text = place.join(name).read_bytes().decode("ascii")
    return list(json.loads("[" + text[text.index("(") + 1 : text.rindex(")")] + "]"))


def heard(side: dict[str, Any]) -> tuple[np.ndarray, int]:
    """Samples and sample rate of one side of a place's media."""
    audio, rate = soundfile.read(io.BytesIO(base64.b64decode(side["mp3"])))
    return audio, rate


def files_of(output: Location) -> Location:
    text = output.join("index.html").read_bytes().decode()
    return output.join(text.split('src="')[1].rsplit("/core.js")[0])


@pytest.fixture(params=["local", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path) if request.param == "local" else str(request.getfixturevalue("s3_bucket"))


def test_a_report_has_all_findings_and_their_sound(place: str) -> None:
    catalogue, output = fake_sweep.make(place + "/cat"), Location(place + "/out")
    events: list[dict[str, Any]] = []
    made = report(catalogue, output, Config(), progress=events.append)
    assert (made.samples, made.duplicates, made.places, made.left_out, made.heard) == (6, 1, 8, 0, 7)
    assert events[-1]["done"] == events[-1]["total"] == 7
    files = files_of(output)
    head = calls(files, "data/head.js")[0]
    assert head["shown"] == {"sample": 6, "duplicate": 1} and head["tracks"] == 10 and head["places"] == 8
    page = calls(files, head["pages"][0]["file"])[0]
    assert page["score"] == sorted(page["score"], reverse=True)
    assert page["places"] == [1, 1, 1, 1, 2, 1]
    assert page["heard"] == [1, 1, 1, 1, 1, 0]  # gone.wav has left the catalogue, so its relation has no sound
    assert (
        page["tracks"][page["q"][0]][0] == "b/young.wav" and page["tempo"][0] == 1.25
    )  # the older one is the reference
    assert page["by"] == ["years", "unknown", "unknown", "unknown", "years", "unknown"]
    places = calls(files, page["file"])[0]
    assert places["first"] == 0 and places["qs"] == [6.0, 0.0, 2.0, 2.0, 2.0, 8.0, 2.0] and page["first"][-1] == 6
    audio, rate = heard(calls(files, "media/0.js")[1]["query"])
    assert rate == 16_000 and len(audio) == pytest.approx(5.0 * rate, abs=2000)  # 4 s, and 0.5 s more on both sides
    assert files.join("vendor", "cytoscape.LICENSE").exists()


def test_covers_are_copied_and_those_that_are_gone_are_left_out(place: str) -> None:
    catalogue, output = fake_sweep.make(place + "/cat"), Location(place + "/out")
    kept, gone = covers.add(catalogue.location, picture()), covers.add(catalogue.location, b"gone")
    catalogue.location.join(covers.FOLDER, gone).delete()
    rows = catalogue.tracks_of(["b/old.wav", "b/young.wav", "b/plain.wav"]).to_pylist()
    names = {"b/old.wav": kept, "b/young.wav": gone, "b/plain.wav": "../../tracks.lance"}
    with catalogue.writing("test"):
        rows = [row | {"cover": names[row["track_id"]]} for row in rows]
        catalogue.commit_tracks(pa.Table.from_pylist(rows, schema=TRACKS))
    report(catalogue, output, Config(report=ReportConfig(sound_mb=0)))
    files = files_of(output)
    shown = {row[0]: row[5] for row in calls(files, "data/sample-0000.js")[0]["tracks"]}
    assert shown["b/old.wav"] == kept and {name for name in shown.values() if name} == {kept}
    assert files.join(covers.FOLDER, kept).read_bytes() == picture()
    assert [entry.name for entry in files.join(covers.FOLDER).list()] == [kept]


def test_another_report_replaces_the_first_and_leaves_other_files(tmp_path: Path) -> None:
    catalogue, output = fake_sweep.make(str(tmp_path / "cat")), Location(str(tmp_path / "out"))
    report(catalogue, output, Config())
    first = files_of(output)
    (tmp_path / "out" / "files" / "mine.txt").write_text("keep")
    (tmp_path / "out" / "notes.txt").write_text("keep")
    add_sweep(catalogue, [detection("b/plain.wav", "b/copy.wav")], sweep_id="20260202T000000.000Z-sweep-0000")
    assert report(catalogue, output, Config()).samples == 1
    assert files_of(output) != first and not first.join("core.js").exists()
    assert (tmp_path / "out" / "files" / "mine.txt").exists() and (tmp_path / "out" / "notes.txt").exists()


def test_only_the_best_are_shown_and_heard(tmp_path: Path) -> None:
    catalogue, output = fake_sweep.make(str(tmp_path / "cat")), Location(str(tmp_path / "out"))
    made = report(catalogue, output, Config(report=ReportConfig(detections=3, sound_mb=0.2, snippet_s=2.0)))
    assert (made.samples, made.duplicates, made.places, made.left_out, made.heard) == (3, 1, 4, 4, 4)
    assert calls(files_of(output), "media/0.js")[1]["reference"]["seconds"] <= 2.0
    made = report(catalogue, output, Config(report=ReportConfig(sound_mb=0.12, snippet_s=2.0)))
    page = calls(files_of(output), "data/sample-0000.js")[0]
    assert page["heard"] == [1, 1, 0, 0, 0, 0] and made.heard == 2
    media = tmp_path / "out" / files_of(output).uri.split("/out/")[1] / "media"
    assert sum(file.stat().st_size for file in media.iterdir()) <= 0.12e6
    assert calls(files_of(output), "data/head.js")[0]["sounds"] == {"places": 2, "mb": 0.12}


def test_a_snippet_is_the_tracks_own_audio_across_segments(tmp_path: Path) -> None:
    catalogue = Catalogue(str(tmp_path / "cat"), create=True, geometry=fake_sweep.GEOMETRY)
    wave = fake_sweep.wave(3, 14.0)
    fake_sweep.add_tracks(catalogue, {"a": wave, "b": wave})
    add_sweep(catalogue, [detection("a", "b", query_start_s=1.0, query_end_s=13.5, reference_start_s=1.0)])
    wanted = snippets.places_to_hear(newest_findings(catalogue, 10), 1e9, 11.0)  # 0.5 to 11.5 s, three cores
    ((place,),) = snippets.cut(catalogue, wanted)
    sides = [place.query, place.reference]
    assert [(side.track_id, side.start_s, len(side.pcm)) for side in sides] == [
        ("a", 0.5, 176_000),
        ("b", 0.5, 176_000),
    ]
    assert np.abs(place.query.pcm / 32768 - wave[8000:184_000]).max() < 1e-4
    shown = listening.picture(place.query)
    mel = np.frombuffer(base64.b64decode(shown["mel"]), np.uint8).reshape(shown["bins"], shown["frames"])
    assert mel.max() == 255 and mel.mean() < 200


def test_what_was_found_from_both_sides_is_one_finding(tmp_path: Path) -> None:
    catalogue = fake_sweep.make(str(tmp_path / "cat"))
    back = {"query_start_s": 6.1, "query_end_s": 10.0, "reference_start_s": 2.0, "reference_end_s": 6.2}
    elsewhere = {"query_start_s": 0.0, "query_end_s": 2.0}
    rows = [detection("x", "y", 0.9), detection("y", "x", 0.8, **back), detection("x", "y", 0.7, **elsewhere)]
    add_sweep(catalogue, rows, sweep_id="3")
    found = newest_findings(catalogue, 100)
    assert [round(s, 1) for s in found.rows.column("score").to_pylist()] == [0.9, 0.7]
    assert found.relations.column("places").to_pylist() == [2] and found.detections["sample"] == 3


def test_a_relation_keeps_its_id_when_tracks_are_renamed_and_swept_again(tmp_path: Path) -> None:
    catalogue = Catalogue(str(tmp_path / "cat"), create=True, geometry=fake_sweep.GEOMETRY)
    fake_sweep.add_tracks(catalogue, {name: fake_sweep.wave(1, 12.0) for name in ("a", "b", "c")})
    rows = catalogue.tracks_of(["a", "b", "c"]).to_pylist()
    ids = []
    for names in ("abc", "xyz"):
        renamed = [row | {"track_id": name} for row, name in zip(rows, names, strict=True)]
        with catalogue.writing("test"):
            catalogue.commit_tracks(pa.Table.from_pylist(renamed, schema=TRACKS))
        add_sweep(catalogue, [detection(names[1], names[0]), detection(names[0], names[2])], sweep_id=names)
        ids.append(sorted(newest_findings(catalogue, 10).relations.column("relation_id").to_pylist()))
    assert ids[0] == ids[1] and len(set(ids[0])) == 2


def test_the_best_place_of_every_pair_is_heard_first(tmp_path: Path) -> None:
    catalogue = fake_sweep.make(str(tmp_path / "cat"))
    rows = [
        detection("b/plain.wav", "b/copy.wav", 0.9 - i / 100, query_start_s=i * 2.0, query_end_s=i * 2.0 + 1.0)
        for i in range(4)
    ]
    add_sweep(catalogue, [*rows, detection("b/plain.wav", "b/old.wav", 0.5)], sweep_id="3")
    found = newest_findings(catalogue, 100)
    assert [place.number for place in snippets.places_to_hear(found, 1e9, 8.0)] == [0, 4, 1, 2, 3]


def test_the_newest_sweep_that_ended_is_shown(tmp_path: Path) -> None:
    catalogue = Catalogue(str(tmp_path / "cat"), create=True)
    with pytest.raises(CatalogueError, match="asid sweep"):
        newest_sweep(catalogue)
    add_sweep(catalogue, [], sweep_id="1")
    add_sweep(catalogue, [], sweep_id="2")
    (tmp_path / "cat/detections/2/sweep.json").unlink()
    assert newest_sweep(catalogue)["sweep_id"] == "1"
    made = report(catalogue, Location(str(tmp_path / "out")), Config())
    assert (made.samples, made.heard) == (0, 0)


def test_the_sweeps_own_threshold_decides_what_is_shown(tmp_path: Path) -> None:
    catalogue = fake_sweep.make(str(tmp_path / "cat"))
    rows = [detection("b/plain.wav", "b/copy.wav", score) for score in (0.3, 0.5, 0.8)]
    rows[0] |= {"query_start_s": 8.0, "query_end_s": 9.0}
    rows[1] |= {"query_start_s": 0.0, "query_end_s": 1.0}
    add_sweep(catalogue, rows, sweep_id="3", config={"score": {"threshold": 0.5}})
    assert newest_findings(catalogue, 100).detections["sample"] == 2
    assert newest_findings(catalogue, 100, min_score=0.0).detections["sample"] == 3


def test_texts_are_one_short_line() -> None:
    assert shorten(" a\n\tb\x00\x1bc ") == "a b c" and shorten("  ") is None and shorten(None) is None
    assert len(shorten("x" * 10_000) or "") == 200
    assert Track("a/b/c.wav").label == "c.wav" and Track("x", "T", "A").label == "A - T"


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake_sweep.make(str(tmp_path / "cat"))
    arguments = ["report", "--catalogue", str(tmp_path / "cat"), "--output", str(tmp_path / "out")]
    assert cli.main([*arguments, "--set", "report.sound_mb=0.3", "-q"]) == 0
    assert "6 pairs with samples, 1 near-duplicate, 8 places, 2 with sound" in capsys.readouterr().out
    assert (tmp_path / "out" / "index.html").exists()
    assert cli.main([*arguments[:-3], str(tmp_path / "none"), *arguments[-2:]]) == 1
