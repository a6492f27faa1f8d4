from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asid_core.signal.formats import AUDIO_SUFFIXES
from pipelines.ingest.corpus import Corpus, CorpusError, CorpusFile, Refusal
from pipelines.store.catalogue import new_run_id
from pipelines.store.location import Location


def listing(uri: Path | str) -> tuple[dict[str, CorpusFile], dict[str, Refusal], Corpus]:
    corpus = Corpus(str(uri))
    items = list(corpus)
    files = {i.track_id: i for i in items if isinstance(i, CorpusFile)}
    refused = {i.track_id: i for i in items if isinstance(i, Refusal)}
    assert len(files) + len(refused) == len(items)
    return files, refused, corpus


def test_a_folder_is_listed_by_extension(tmp_path: Path) -> None:
    for name in ("a.WAV", "b/c.Mp3", "b/ü 夜.opus", "...dots.flac", "notes.txt", "b/cover.jpg", "._a.WAV"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "x.wav").mkdir()
    (tmp_path / "x.wav" / "inside.aif").write_bytes(b"xyz")
    (tmp_path / "broken.wav").symlink_to("nowhere")
    files, refused, corpus = listing(tmp_path)
    assert set(files) == {"a.WAV", "b/c.Mp3", "b/ü 夜.opus", "...dots.flac", "x.wav/inside.aif"}
    assert {k: r.error_type for k, r in refused.items()} == {"x.wav": "folder", "broken.wav": "unreadable"}
    assert corpus.skipped == {".txt": 1, ".jpg": 1, ".wav": 1}
    file = files["x.wav/inside.aif"]
    assert file.uri == str(tmp_path / "x.wav/inside.aif") and file.size_bytes == 3 and file.version


def test_names_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bell\x07.wav").write_bytes(b"x")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav")).write_bytes(b"x")
    files, refused, _ = listing(tmp_path)
    assert files == {}
    assert set(refused) == {"bell\\x07.wav", "caf\\udce9.wav"}
    assert all("rename" in r.error for r in refused.values())


def test_s3_prefix(s3_bucket: str) -> None:
    Location(s3_bucket).join("music/a.wav").write_bytes(b"12")
    Location(s3_bucket).join("music/deep/b.flac").write_bytes(b"123")
    Location(s3_bucket).join("musical/no.wav").write_bytes(b"1")
    files, refused, _ = listing(s3_bucket + "/music/")
    assert {k: f.size_bytes for k, f in files.items()} == {"a.wav": 2, "deep/b.flac": 3}
    assert files["a.wav"].uri == s3_bucket + "/music/a.wav" and not refused


ROWS = [
    {"uri": "a.wav", "title": "A", "artist": "Ä", "year": "1990.0", "isrc": "X1"},
    {"uri": "a.wav", "track_id": "second name"},
    {"uri": "b.bin", "track_id": "a.wav"},
    {"uri": "gone.wav"},
    {"uri": ""},
    {"uri": "../up.wav"},
    {"uri": "../up.wav", "track_id": "up"},
    {"uri": "a.wav", "track_id": "/etc/passwd"},
    {"uri": "a.wav", "track_id": "bad\x1byear"},
    {"uri": "a.wav", "track_id": "y", "year": "MCM"},
    {"uri": ".", "track_id": "dir"},
    {"uri": "ftp://host/a.wav", "track_id": "ftp"},
]


def as_csv(path: Path) -> Path:
    import csv

    path = path.with_suffix(".csv")
    with path.open("w", newline="", encoding="utf-8-sig") as stream:
        writer = csv.DictWriter(stream, ["uri", "track_id", "title", "artist", "year", "isrc"])
        writer.writeheader()
        writer.writerows(ROWS)
    return path


def as_jsonl(path: Path) -> Path:
    path = path.with_suffix(".jsonl")
    path.write_text("\n".join(json.dumps(row) for row in ROWS) + "\n\n")
    return path


def as_parquet(path: Path) -> Path:
    path = path.with_suffix(".PARQUET")
    pq.write_table(pa.Table.from_pylist([{"track_id": None, "title": None, "year": None, **r} for r in ROWS]), path)
    return path


@pytest.mark.parametrize("write", [as_csv, as_jsonl, as_parquet])
def test_manifests(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    (tmp_path / "m").mkdir()
    for name in ("m/a.wav", "m/b.bin", "up.wav"):
        (tmp_path / name).write_bytes(b"x")
    manifest = write(tmp_path / "m/list")
    files, refused, _ = listing(manifest)
    assert set(files) == {"a.wav", "second name", "up", "y"} and files["y"].year is None
    first = files["a.wav"]
    assert (first.uri, first.title, first.year) == (str(tmp_path / "m/a.wav"), "A", 1990)
    assert files["up"].uri == str(tmp_path / "up.wav")
    assert {k: r.error_type for k, r in refused.items()} == {
        "a.wav (again, row 3)": "duplicate",
        "gone.wav": "vanished",
        f"{manifest.name} row 5": "manifest",
        "../up.wav": "name",
        "/etc/passwd": "name",
        "bad\\x1byear": "name",
        "dir": "folder",
        "ftp": "unreadable",
    }


@pytest.mark.parametrize("name", ["m.csv", "m.jsonl", "m.parquet"])
def test_a_manifest_on_s3_names_files_beside_it_and_elsewhere(s3_bucket: str, tmp_path: Path, name: str) -> None:
    (tmp_path / "local.wav").write_bytes(b"123")
    uris = ["x/1.wav", str(tmp_path / "local.wav"), s3_bucket + "/y.wav", *(f"no/{i}.wav" for i in range(600))]
    with Location(s3_bucket).join("set", name).writing() as stream:
        if name == "m.parquet":
            pq.write_table(pa.table({"uri": uris}), stream)
        else:
            lines = ["uri", *uris] if name == "m.csv" else [json.dumps({"uri": uri}) for uri in uris]
            stream.write("\n".join(lines).encode())
    Location(s3_bucket).join("set/x/1.wav").write_bytes(b"1")
    Location(s3_bucket).join("y.wav").write_bytes(b"12")
    files, refused, _ = listing(f"{s3_bucket}/set/{name}")
    assert {f.uri: f.size_bytes for f in files.values()} == {s3_bucket + "/set/x/1.wav": 1, uris[1]: 3, uris[2]: 2}
    assert len(refused) == 600


def test_what_is_no_corpus_says_so(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="folder"):
        Corpus(str(tmp_path / "nothing"))
    with pytest.raises(CorpusError, match="no manifest"):
        Corpus(str(tmp_path / "m.csv"))
    (tmp_path / "m.csv").write_text("path,title\na.wav,A\n")
    with pytest.raises(CorpusError, match="no column 'uri'.*path, title"):
        list(Corpus(str(tmp_path / "m.csv")))
    (tmp_path / "m.jsonl").write_text('{"uri": "x.wav"}\nnot json\n')
    assert [r.error_type for r in listing(tmp_path / "m.jsonl")[1].values()] == ["vanished", "manifest"]


def test_pipes_devices_and_links_out_of_the_corpus(tmp_path: Path) -> None:
    corpus, elsewhere = tmp_path / "corpus", tmp_path / "elsewhere"
    for folder in (corpus / "a", elsewhere):
        folder.mkdir(parents=True)
        (folder / "song.wav").write_bytes(b"x")
    os.mkfifo(corpus / "pipe.wav")
    (corpus / "zero.wav").symlink_to("/dev/zero")
    (corpus / "out").symlink_to(elsewhere)
    (corpus / "out.wav").symlink_to(elsewhere / "song.wav")
    (corpus / "in.wav").symlink_to(corpus / "a" / "song.wav")
    (corpus / "a" / "up").symlink_to(corpus)
    files, refused, listed = listing(corpus)
    assert set(files) == {"a/song.wav", "in.wav"}
    assert {name: r.error_type for name, r in refused.items()} == {"pipe.wav": "not_a_file"}
    assert listed.skipped == {"links out of the corpus": 3}
    followed = {item.track_id for item in Corpus(str(corpus), follow_links=True)}
    assert followed == {"a/song.wav", "in.wav", "out/song.wav", "out.wav", "pipe.wav", "zero.wav"}
    (tmp_path / "m.jsonl").write_text(f'{{"uri": "{corpus}/pipe.wav"}}\n')
    assert [r.error for r in listing(tmp_path / "m.jsonl")[1].values()][0].endswith("not a file")


def test_folders_full_of_links_to_each_other_end(tmp_path: Path) -> None:
    folders = [tmp_path / str(number) for number in range(12)]
    for folder in folders:
        folder.mkdir()
        (folder / "song.wav").write_bytes(b"x")
    for folder in folders:
        for other in folders:
            (folder / f"to {other.name}").symlink_to(other)
    assert len(list(Corpus(str(tmp_path)))) <= 24


def test_what_a_report_wrote_is_no_music(tmp_path: Path) -> None:
    for name in ("song.mp3", "report/files/20261126T010101.123Z-report-0a1b/media/1-query.mp3", "files/b.mp3"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    files, _, corpus = listing(tmp_path)
    assert set(files) == {"song.mp3", "files/b.mp3"} and corpus.skipped == {"in reports of asid": 1}
    folder = next((tmp_path / "report/files").iterdir()).name
    assert folder.split("Z-")[1].split("-")[0] == new_run_id("report").split("Z-")[1].split("-")[0]


@pytest.mark.parametrize("suffix", sorted(AUDIO_SUFFIXES))
def test_every_suffix_that_can_be_decoded_is_listed(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a{suffix.upper()}").write_bytes(b"x")
    assert len(listing(tmp_path)[0]) == 1
