"""Spans as Opus files, and all of them on one device."""

from pathlib import Path

import numpy as np
import pytest
import torch

from asid_core import config as configs
from asid_core.learning.front_end_spectra import spectra_of
from asid_core.learning.spans import track_number
from asid_core.model.factory import front_end_of
from benchmarks.lib.packed_spans import pack, unpack
from benchmarks.lib.spans_on_device import SpansOnDevice
from benchmarks.pack_spans import FILES, divided

SAMPLES = 3 * 16_000


def tone(hz: float) -> np.ndarray:
    return (8000 * np.sin(2 * np.pi * hz * np.arange(SAMPLES) / 16_000)).astype(np.int16)


def test_spans_come_back_in_order_and_in_time(tmp_path: Path) -> None:
    spans = [tone(hz) for hz in (200, 500, 900)]
    pack(tmp_path / "s0.ogg", ["a", "a", "b"], iter(spans[:3]))
    pack(tmp_path / "s1.ogg", ["c"], iter(spans[:1]))
    pcm, track_ids = unpack(tmp_path)
    assert track_ids == ["a", "a", "b", "c"]
    assert pcm.shape == (4, SAMPLES)
    pack(tmp_path / "s1.ogg", ["d"], iter(spans[1:2]))  # what was decoded before does not count
    again, track_ids = unpack(tmp_path)
    assert track_ids[3] == "d"
    for found, given in zip([*pcm, again[3]], [*spans, spans[0], spans[1]], strict=True):
        inside = slice(1600, -1600)  # at the seams, Opus fades from one sound to the next
        assert np.corrcoef(found[inside], given[inside])[0, 1] > 0.97


def test_a_folder_without_spans_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no .ogg files"):
        unpack(tmp_path)


def test_whole_tracks_are_divided_evenly() -> None:
    spans = {f"t{i}": 1 + i % 7 for i in range(400)}
    files = divided(spans)
    assert len(files) == FILES
    assert sorted(name for some in files for name in some) == sorted(spans)
    sizes = [sum(spans[name] for name in some) for some in files]
    assert max(sizes) - min(sizes) <= 7
    assert divided({"a": 3, "b": 5}) == [["b"], ["a"]]


def test_a_batch_holds_excerpts_of_different_spans() -> None:
    config = configs.load("gnn-paper")
    ranges = config.training.augmentation
    spectra = spectra_of(front_end_of(config.model.front_end), ranges.semitones)
    pcm = np.random.default_rng(0).integers(-9000, 9000, (5, 15 * 16_000)).astype(np.int16)
    spans = SpansOnDevice(pcm, ["a", "b", "c", "d", "e"], spectra, ranges)
    torch.manual_seed(0)
    batch = spans.draw(5)
    assert sorted(batch.track.tolist()) == sorted(map(track_number, "abcde"))
    assert not batch.stems.any()
    assert batch.sources.shape[3] == spans.frames
    whole = spans.spans[spans.tracks.argsort()]
    for source, of_span in zip(batch.sources[batch.track.argsort()], whole, strict=True):
        places = of_span.unfold(2, spans.frames, 1).permute(2, 0, 1, 3)
        assert sum(bool(torch.equal(place, source)) for place in places) == 1
    assert len(spans.draw(9).track) == 9
