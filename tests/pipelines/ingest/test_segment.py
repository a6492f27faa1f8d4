from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mutagen.flac
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from asid_core.config import Config, LinearConfig, LogFrequencyConfig, ModelConfig, SegmentConfig
from asid_core.schema import SEGMENTS, TRACKS
from asid_core.signal.decode import decode
from asid_core.signal.pcm import to_pcm
from pipelines.ingest.segment import SegmentSummary, read_segments, segment
from pipelines.ingest.segment_task import FILES, segment_batch
from pipelines.store import covers
from pipelines.store.catalogue import Catalogue, CatalogueError
from pipelines.store.location import Location
from pipelines.store.status import status
from tests.conftest import tone, write_audio
from tests.pipelines.pictures import picture

pytestmark = pytest.mark.ray
STUB = "tests.pipelines.stub_decoders:by_name"
# short segments, small tasks and commits, so that a few seconds of audio go through every branch
CUT = SegmentConfig(core_s=1.28, margin_s=0.5, files_per_task=3, commit_tracks=4)
# windows of 0.48 s, which the margin holds
MODEL = ModelConfig(front_end=LogFrequencyConfig(window_frames=12), encoder=LinearConfig(dim=8))
CONFIG = Config(segment=CUT, model=MODEL)


@pytest.fixture()
def corpus(tmp_path: Path) -> Path:
    for number in range(4):
        write_audio(tmp_path / f"corpus/album {number % 2}/{number}.flac", tone(2.5 + number, seed=number), 16_000)
    return tmp_path / "corpus"


def run(corpus: Path | str, catalogue: Path | str, config: Config = CONFIG, **more: Any) -> SegmentSummary:
    return segment(str(corpus), Catalogue(str(catalogue), create=True, geometry=config.segment), config, **more)


def rows(catalogue: Path | str) -> dict[str, dict[str, Any]]:
    """The live tracks by id, without the columns that differ between runs."""
    tracks = pa.Table.from_batches(Catalogue(str(catalogue)).tracks(), schema=TRACKS).to_pylist()
    return {r["track_id"]: {k: v for k, v in r.items() if k not in ("run_id", "segment_files")} for r in tracks}


def rejects(catalogue: Path | str) -> dict[str, tuple[str, str]]:
    rejected = Catalogue(str(catalogue)).rejects().to_pylist()
    return {r["track_id"]: (r["error_type"], r["error"]) for r in rejected}


def segments(catalogue: Path | str) -> dict[str, list[dict[str, Any]]]:
    """Segments by track, read with read_segments."""
    opened = Catalogue(str(catalogue))
    by_track: dict[str, list[dict[str, Any]]] = {}
    for tracks in opened.tracks(columns=["track_id", "segment_files"]):
        pairs = [(r["track_id"], r["segment_files"]) for r in tracks.to_pylist()]
        for batch in read_segments(opened, pairs):
            assert batch.schema.equals(SEGMENTS) and batch.num_rows <= 16
            for row in batch.to_pylist():
                by_track.setdefault(row["track_id"], []).append(row)
    return by_track


def snapshot(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


def spoil(corpus: Path) -> dict[str, str]:
    """Add the broken files of the main issue, and a few more; returns the error type of each."""
    flac = write_audio(corpus / "cut.flac", tone(10.0), 16_000)
    flac.write_bytes(flac.read_bytes()[: flac.stat().st_size // 2])
    (corpus / "text.mp3").write_bytes(b"not music at all\n" * 500)
    (corpus / "empty.ogg").write_bytes(b"")
    (corpus / "x.wav").mkdir()
    write_audio(corpus / "silence.wav", np.zeros((48_000, 2), np.float32), 16_000)
    soundfile.write(corpus / "nan.wav", np.full((32_000, 1), np.nan, np.float32), 16_000, subtype="FLOAT")
    write_audio(corpus / "blip.wav", tone(0.2), 16_000)
    (corpus / "one.wav").symlink_to("nowhere.wav")
    bad = {"cut.flac": "truncated", "text.mp3": "not_audio", "empty.ogg": "empty", "x.wav": "folder"}
    bad |= {"silence.wav": "silent", "nan.wav": "not_finite", "blip.wav": "too_short", "one.wav": "unreadable"}
    if os.geteuid():  # root reads everything
        write_audio(corpus / "locked.flac", tone(2.0), 16_000).chmod(0)
        bad["locked.flac"] = "unreadable"
    return bad


def test_good_files_become_tracks_and_bad_ones_rejects_and_again_nothing_changes(
    ray_session: Any, corpus: Path, tmp_path: Path
) -> None:
    bad = spoil(corpus)
    write_audio(corpus / "really an ogg.wav", tone(2.0, 44_100), 44_100, container="ogg")
    write_audio(corpus / "夜の歌 🎵.flac", tone(2.0), 16_000)
    write_audio(corpus / "eight.wav", tone(2.0, channels=8), 16_000)
    write_audio(corpus / "low.wav", tone(2.0, 8_000), 8_000)
    write_audio(corpus / "high.wav", tone(2.0, 192_000, 2), 192_000)
    (corpus / "notes.txt").write_text("ignored")
    events: list[dict[str, Any]] = []
    first = run(corpus, tmp_path / "c", progress=events.append)
    assert (first.tracks, first.rejects, first.skipped) == (9, len(bad), {".txt": 1})
    assert first.reject_share == pytest.approx(len(bad) / (9 + len(bad)))
    assert {k: t for k, (t, _) in rejects(tmp_path / "c").items()} == bad
    assert all(len(error) > 10 for _, error in rejects(tmp_path / "c").values())
    assert events[-1]["done"] == events[-1]["total"] == first.listed
    assert events[-1]["audio_s"] == pytest.approx(first.audio_s)
    assert {r["outcome"] for r in Catalogue(str(tmp_path / "c")).runs()} == {"done"}

    before = snapshot(tmp_path / "c")
    again = run(corpus, tmp_path / "c")
    assert (again.tracks, again.rejects, again.already, again.rejected_before) == (0, 0, 9, len(bad))
    assert again.reject_share == first.reject_share
    assert snapshot(tmp_path / "c") == before


def test_segments_are_the_track_with_its_neighbours_around(ray_session: Any, corpus: Path, tmp_path: Path) -> None:
    run(corpus, tmp_path / "c")
    by_track, tracks = segments(tmp_path / "c"), rows(tmp_path / "c")
    assert set(by_track) == set(tracks) == {f"album {n % 2}/{n}.flac" for n in range(4)}
    core, margin = 20_480, 8_000
    for track_id, parts in by_track.items():
        whole = to_pcm(np.concatenate(list(decode(str(corpus / track_id)))))
        assert [p["segment_index"] for p in parts] == list(range(tracks[track_id]["num_segments"]))
        assert tracks[track_id]["duration_s"] == len(whole) / 16_000
        assert tracks[track_id]["level_db"] == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.5)
        for part in parts:
            pcm, start = np.frombuffer(part["pcm"], "<i2"), round(part["start_s"] * 16_000)
            assert start == part["segment_index"] * core and part["num_samples"] == len(pcm)
            assert part["core_samples"] == min(core, len(whole) - start)
            np.testing.assert_array_equal(pcm, whole[start - part["lead_samples"] : start + core + margin])
    assert list(read_segments(Catalogue(str(tmp_path / "c")), [])) == []


def test_changes_of_the_corpus_are_followed(ray_session: Any, corpus: Path, tmp_path: Path) -> None:
    (corpus / "later.wav").write_bytes(b"")
    run(corpus, tmp_path / "c")
    before = rows(tmp_path / "c")
    same, other, broken = (corpus / "album 0/0.flac", corpus / "album 1/1.flac", corpus / "album 0/2.flac")
    os.utime(same, ns=(1, 1))
    write_audio(other, tone(4.0, seed=9), 16_000)
    broken.write_bytes(b"")
    write_audio(corpus / "later.wav", tone(2.0, seed=8), 16_000)
    summary = run(corpus, tmp_path / "c")
    assert (summary.refreshed, summary.tracks, summary.rejects, summary.already) == (1, 2, 1, 1)
    after = rows(tmp_path / "c")
    assert after["album 0/0.flac"] == before["album 0/0.flac"] | {"version": "1"}
    assert after["album 1/1.flac"]["content_hash"] != before["album 1/1.flac"]["content_hash"]
    assert set(after) == set(before) - {"album 0/2.flac"} | {"later.wav"}
    assert {k: t for k, (t, _) in rejects(tmp_path / "c").items()} == {"album 0/2.flac": "empty"}
    assert len(segments(tmp_path / "c")["album 1/1.flac"]) == 4
    shutil.move(corpus / "later.wav", tmp_path)  # what is gone stays: removing is reindex's work
    assert run(corpus, tmp_path / "c").tracks == 0
    with Catalogue(str(tmp_path / "c")).writing("test") as catalogue:
        catalogue.delete_tracks(["later.wav"])
    assert "later.wav" not in rejects(tmp_path / "c")  # its old reject does not come back


def test_a_decoder_that_crashes_or_hangs_costs_only_its_file(ray_session: Any, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    for name in ("crash.wav", "hang.wav", "long.wav", "memory.wav"):
        write_audio(corpus / name, tone(0.1), 16_000)
    write_audio(corpus / "ordinary.wav", tone(2.0), 16_000)
    config = replace(CONFIG, segment=replace(CUT, decode_timeout_s=1.5, max_track_s=3600.0))
    summary = run(corpus, tmp_path / "c", config, reader=STUB)
    assert (summary.tracks, summary.rejects) == (1, 4)
    assert {k: t for k, (t, _) in rejects(tmp_path / "c").items()} == {
        "crash.wav": "decoder_crashed",
        "hang.wav": "decoder_hung",
        "long.wav": "too_long",
        "memory.wav": "decoder_memory",
    }
    assert set(segments(tmp_path / "c")) == {"ordinary.wav"}


def test_a_ray_worker_that_keeps_dying_ends_the_job(ray_session: Any, tmp_path: Path) -> None:
    write_audio(tmp_path / "corpus/worker.wav", tone(1.0), 16_000)
    with pytest.raises(Exception, match="(?i)worker"):
        run(tmp_path / "corpus", tmp_path / "c", reader=STUB)
    assert rows(tmp_path / "c") == {} and rejects(tmp_path / "c") == {}


KILLED = """
import os, signal, sys
import ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
from pipelines.store.catalogue import Catalogue
from dataclasses import replace
from tests.pipelines.ingest.test_segment import CONFIG, run
from asid_core.config import SegmentConfig
def progress(event):
    if Catalogue(sys.argv[3]).count_tracks() >= 2:
        os.kill(os.getpid(), signal.SIGKILL)
one = replace(CONFIG, segment=SegmentConfig(core_s=1.28, margin_s=0.5, files_per_task=1, commit_tracks=2))
run(sys.argv[2], sys.argv[3], one, progress=progress)
"""


def test_a_killed_driver_is_started_again_and_ends_the_same(ray_session: Any, corpus: Path, tmp_path: Path) -> None:
    (corpus / "bad.mp3").write_bytes(b"no music\n" * 99)
    for number in range(4, 8):
        write_audio(corpus / f"{number}.ogg", tone(2.0, seed=number), 16_000)
    address = ray_session.get_runtime_context().gcs_address
    command = [sys.executable, "-c", KILLED, address, str(corpus), str(tmp_path / "killed")]
    root = Path(__file__).parents[3]
    killed = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert 2 <= len(rows(tmp_path / "killed")) < 8
    summary = run(corpus, tmp_path / "killed")
    assert summary.already >= 2 and summary.tracks == 8 - summary.already
    run(corpus, tmp_path / "clean")
    assert rows(tmp_path / "killed") == rows(tmp_path / "clean")
    assert segments(tmp_path / "killed") == segments(tmp_path / "clean")
    assert rejects(tmp_path / "killed") == rejects(tmp_path / "clean")


def test_manifest_and_catalogue_on_s3(ray_session: Any, s3_bucket: str, audio: Callable[..., Path]) -> None:
    bucket = Location(s3_bucket)
    bucket.join("in/a.ogg").write_bytes(audio("a.ogg", 2.0).read_bytes())
    bucket.join("in/list.csv").write_bytes(b"uri,track_id,title,artist,year\na.ogg,one,T,A,1999\ngone.ogg,two,,,\n")
    summary = run(s3_bucket + "/in/list.csv", s3_bucket + "/c")
    assert (summary.tracks, summary.rejects) == (1, 1)
    row = rows(s3_bucket + "/c")["one"]
    assert (row["title"], row["artist"], row["year"]) == ("T", "A", 1999)
    assert sum(s["core_samples"] for s in segments(s3_bucket + "/c")["one"]) == 32_000
    assert run(s3_bucket + "/in/list.csv", s3_bucket + "/c").already == 1


def test_names_come_from_tags_and_the_manifest_overrides_them(
    ray_session: Any, tmp_path: Path, audio: Callable[..., Path]
) -> None:
    path = audio("music/a.flac", 2.0)
    tags = mutagen.flac.FLAC(path)
    tags.update({"title": "Of the file", "artist": "Artist", "date": "1971", "label": "Label"})
    cover = mutagen.flac.Picture()
    cover.data = picture()
    tags.add_picture(cover)
    tags.save()
    assert run(path.parent, tmp_path / "c").tracks == 1
    row = rows(tmp_path / "c")["a.flac"]
    names = ("title", "artist", "year", "label", "album", "manifest")
    assert [row[key] for key in names] == ["Of the file", "Artist", 1971, "Label", None, None]
    assert covers.read(Location(str(tmp_path / "c")), name := row["cover"])
    assert run(path.parent, tmp_path / "c").already == 1  # a title from the file is no change of the listing
    manifest = tmp_path / "list.csv"
    for title in ("First", "Second"):
        manifest.write_text(f"uri,track_id,title,publisher\nmusic/a.flac,a.flac,{title},P\n")
        assert run(manifest, tmp_path / "c").refreshed == 1
        row = rows(tmp_path / "c")["a.flac"]
        assert [row[key] for key in names[:5]] == [title, "Artist", 1971, "Label", None] and row["cover"] == name
        assert json.loads(row["manifest"]) == {"title": title, "publisher": "P"}
    assert run(manifest, tmp_path / "c").already == 1


def test_another_geometry_is_refused(tmp_path: Path, corpus: Path) -> None:
    opened = Catalogue(str(tmp_path / "c"), create=True, geometry=CUT)
    with pytest.raises(CatalogueError, match="margin"):
        segment(str(corpus), opened, Config())


def test_a_soft_track_is_stored_louder_and_its_level_is_the_file_s(ray_session: Any, tmp_path: Path) -> None:
    for name, gain in (("loud", 1.0), ("soft", 0.002)):
        write_audio(tmp_path / f"corpus/{name}.flac", tone(6.0) * np.float32(gain), 16_000)
    run(tmp_path / "corpus", tmp_path / "c")
    by_track, tracks = segments(tmp_path / "c"), rows(tmp_path / "c")
    assert tracks["soft.flac"]["level_db"] == pytest.approx(tracks["loud.flac"]["level_db"] - 54, abs=0.5)
    parts = by_track["soft.flac"]
    assert len(parts) == tracks["soft.flac"]["num_segments"]
    pcm = np.concatenate([np.frombuffer(part["pcm"], "<i2") for part in parts]).astype(float) / 32_768
    assert 10 * np.log10(np.mean(pcm**2)) == pytest.approx(-35, abs=0.3)


def test_soft_tracks_of_an_older_asid_are_read_again_once(ray_session: Any, tmp_path: Path) -> None:
    """An older version stored them as they were, so nothing was found.

    The new content_hash makes later stages run again.
    """
    write_audio(tmp_path / "corpus/loud.flac", tone(6.0), 16_000)
    write_audio(tmp_path / "corpus/soft.flac", tone(6.0) * np.float32(0.002), 16_000)
    click = np.zeros((96_000, 1), np.float32)
    click[::500] = 0.3  # soft, but its peaks leave no room
    write_audio(tmp_path / "corpus/clicks.wav", click, 16_000)
    run(tmp_path / "corpus", tmp_path / "c")
    made, catalogue = rows(tmp_path / "c"), Catalogue(str(tmp_path / "c"))
    assert "+" not in made["loud.flac"]["content_hash"] and made["soft.flac"]["content_hash"].endswith("dB")
    assert run(tmp_path / "corpus", tmp_path / "c").already == 3
    with catalogue.writing("test"):
        older = pa.Table.from_batches(catalogue.tracks()).to_pylist()
        older = [row | {"content_hash": row["content_hash"].partition("+")[0]} for row in older]
        catalogue.commit_tracks(pa.Table.from_pylist(older, schema=TRACKS))
    expected = sum(row["level_db"] < -35.2 for row in made.values())
    assert status(catalogue).not_raised == expected >= 1
    again = run(tmp_path / "corpus", tmp_path / "c")
    assert (again.tracks, again.already) == (expected, 3 - expected)
    assert rows(tmp_path / "c") == made and status(catalogue).not_raised == 0
    (tmp_path / "corpus/soft.flac").touch()  # another date, the same bytes
    assert run(tmp_path / "corpus", tmp_path / "c").refreshed == 1
    assert rows(tmp_path / "c")["soft.flac"]["content_hash"] == made["soft.flac"]["content_hash"]


def test_a_header_that_tells_too_great_a_length_is_refused_before_decoding(ray_session: Any, tmp_path: Path) -> None:
    write_audio(tmp_path / "corpus/long.flac", tone(10.0), 16_000)
    write_audio(tmp_path / "corpus/long.ogg", tone(10.0), 16_000)
    short = replace(CONFIG, segment=replace(CONFIG.segment, max_track_s=5.0))
    run(tmp_path / "corpus", tmp_path / "c", short)
    assert {kind for kind, _ in rejects(tmp_path / "c").values()} == {"too_long"}
    assert not list((tmp_path / "c").glob("segments/**/*.parquet"))


def test_a_file_that_turns_out_too_long_leaves_nothing_behind(tmp_path: Path) -> None:
    """Its header states no length, so most of it is written before the limit is reached."""
    good = write_audio(tmp_path / "ordinary.flac", tone(6.0), 16_000)
    long = write_audio(tmp_path / "no length.flac", tone(2.0), 16_000)
    Catalogue(str(tmp_path / "c"), create=True, geometry=CUT)
    files = [{"track_id": file.name, "uri": str(file), "size_bytes": 1, "version": "1"} for file in (good, long)]
    limited = replace(CUT, max_track_s=60.0)
    outcomes = segment_batch(pa.Table.from_pylist(files, schema=FILES), str(tmp_path / "c"), "run", limited, STUB)
    tracks, refused = (
        [row[kind] for row in outcomes.to_pylist() if row[kind] is not None] for kind in ("track", "reject")
    )
    assert [row["track_id"] for row in tracks] == ["ordinary.flac"]
    assert [row["error_type"] for row in refused] == ["too_long"]
    (part,) = (tmp_path / "c").glob("segments/**/*.parquet*")
    assert set(pq.read_table(part)["track_id"].to_pylist()) == {"ordinary.flac"}


def test_what_is_missing_is_counted(ray_session: Any, tmp_path: Path) -> None:
    whole = write_audio(tmp_path / "corpus/a.flac", tone(20.0), 16_000).read_bytes()
    (tmp_path / "corpus/a.flac").write_bytes(whole[: len(whole) * 95 // 100])
    write_audio(tmp_path / "corpus/b.flac", tone(3.0), 16_000)
    summary = run(tmp_path / "corpus", tmp_path / "c")
    assert (summary.tracks, summary.shortened) == (2, 1) and 0.5 < summary.missing_s < 2
