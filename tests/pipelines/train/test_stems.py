"""Stem tables from folders, mixes and MIDI, and one complete training run on Ray."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from asid_core import schema
from asid_core.config import Config
from asid_core.learning import midi
from pipelines.store.location import Location, StorageError
from pipelines.train import render_midi
from pipelines.train.render_midi import RenderError, render, sound_font
from pipelines.train.stem_files import SPAN_SAMPLES, StemTables, spans, write_part
from pipelines.train.stems import stems
from tests.asid_core.learning.test_midi import song

needs_fluidsynth = pytest.mark.skipif(
    shutil.which("fluidsynth") is None or not any(map(Path, render_midi.SOUND_FONTS)), reason="fluidsynth is missing"
)


def noise(seconds: float, level: float, seed: int = 0) -> np.ndarray:
    samples = np.random.default_rng(seed).standard_normal(round(seconds * 16_000)) * level * 32_768
    return samples.clip(-32_768, 32_767).astype("<i2")


def test_spans_cover_a_track_and_mark_what_is_quiet() -> None:
    drums, vocals = noise(40, 0.1), noise(40, 0.1, 1)
    vocals[: SPAN_SAMPLES + 100] = 0
    hum = noise(40, 0.002, 2)
    rows = list(spans("t", {"drums": drums, "vocals": vocals, "hum": hum}))
    assert [row["start_s"] for row in rows] == [0.0, 15.36, 40 - 15.36]
    assert [row["usable"] for row in rows] == [["drums"], ["drums", "vocals"], ["drums", "vocals"]]
    assert rows[0]["vocals_pcm"] is None and rows[0]["vocals_db"] == -120
    assert abs(rows[0]["drums_db"] + 20) < 0.1 and rows[0]["hum_pcm"] is not None
    back = np.frombuffer(rows[2]["drums_pcm"], "<i2")
    assert np.array_equal(back, drums[-SPAN_SAMPLES:])


def test_loops_are_repeated_and_silence_left_out() -> None:
    (row,) = spans("loop", {"mix": noise(2, 0.1)})
    pcm = np.frombuffer(row["mix_pcm"], "<i2")
    assert len(pcm) == SPAN_SAMPLES and np.array_equal(pcm[:32_000], pcm[32_000:64_000])
    assert not list(spans("silent", {"mix": np.zeros(32_000, "<i2")}))


def test_tables_are_split_by_whole_tracks(tmp_path: Path) -> None:
    names = [f"{folder}/{i}" for folder in ("a", "b") for i in range(10)]
    counts = write_part(
        Location(str(tmp_path)).join("p.parquet"), ["mix"], ((n, {"mix": noise(40, 0.1)}) for n in names)
    )
    tables = StemTables(str(tmp_path), create=True)
    for name, count in zip(names, counts, strict=True):
        tables.tracks[name] = {"version": "1", "spans": count, "part": "p.parquet"}
    tables.commit()
    again = StemTables(str(tmp_path))
    held, rest = again.split(["b/"])
    assert held == names[10:] and rest == names[:10] and again.count(rest) == 30
    drawn, others = again.split([])
    assert len(drawn) == 2 and not set(drawn) & set(others)
    rows = again.read(held, 20)
    assert rows.num_rows == 20 and set(rows.column("track_id").to_pylist()) == set(held)
    with pytest.raises(StorageError, match="holds out"):
        again.split(["nothing"])
    with pytest.raises(StorageError, match="asid stems"):
        StemTables(str(tmp_path / "elsewhere"))


def test_without_fluidsynth_the_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(RenderError, match="apt-get install fluidsynth fluid-soundfont-gm"):
        sound_font()


@needs_fluidsynth
def test_midi_renders_to_aligned_stems_that_vary() -> None:
    data = midi.encode(song())
    rendered = render(data, "")
    assert set(rendered) == {"bass", "drums", "guitar"}
    onset = {name: int(np.flatnonzero(np.abs(pcm) > 300)[0]) / 16_000 for name, pcm in rendered.items()}
    # 480 ticks last 0.4 s: bass at 0, drums at 240, guitar at 300 ticks
    assert onset["bass"] < 0.05 and abs(onset["drums"] - 0.2) < 0.05 and abs(onset["guitar"] - 0.25) < 0.05
    varied = render(data, "song.mid#1")
    assert len(varied["bass"]) != len(rendered["bass"]) or not np.array_equal(varied["bass"], rendered["bass"])
    assert all(np.array_equal(a, varied[name]) for name, a in render(data, "song.mid#1").items())


@pytest.mark.ray
def test_folders_of_stems_become_tables_once(ray_session: Any, tmp_path: Path, audio: Callable[..., Path]) -> None:
    for name in ("Drums", "vocals", "mixture"):
        audio(f"in/song one/{name}.wav", seconds=20.0, seed=len(name))
    audio("in/two/bass.flac", seconds=20.0)
    audio("in/two/drums.flac", seconds=4.0)
    output = str(tmp_path / "out")
    summary = stems(str(tmp_path / "in"), "stems", output, Config())
    assert (summary.tracks, summary.rejects, summary.spans) == (1, 1, 2)
    tables = StemTables(output)
    assert list(tables.tracks) == ["song one"] and tables.index["names"] == ["bass", "drums", "vocals"]
    assert "4.0 s" in tables.index["rejects"]["two"]["error"]
    (part,) = tables.parts(["song one"])
    table = pq.read_table(part.uri)
    assert table.schema.equals(schema.stems(["bass", "drums", "vocals"]))
    assert table.column("bass_pcm").null_count == 2 and table.column("usable")[0].as_py() == ["drums", "vocals"]
    before = json.dumps(tables.index)
    again = stems(str(tmp_path / "in"), "stems", output, Config())
    assert (again.tracks, again.already, again.rejects) == (0, 1, 1)
    assert json.dumps(StemTables(output).index) == before
    with pytest.raises(StorageError, match="another --output"):
        stems(str(tmp_path / "in"), "mix", output, Config())
