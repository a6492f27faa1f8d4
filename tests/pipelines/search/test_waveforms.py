"""Waveforms of catalogue tracks are those of their audio, across the cuts of segments."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
import torchaudio.functional as F

from asid_core.matching.coherence import RATE_HZ, part
from asid_core.model.fingerprinter import Fingerprinter
from asid_core.signal.pcm import SCALE
from pipelines.search.features import features_of
from pipelines.search.waveforms import KEPT, ReferenceWaveforms
from pipelines.store.audio import segments_of_tracks
from tests.pipelines.catalogues import LINEAR, make_catalogue, melody

LENGTHS_S = {"long": 13.3, "short": 0.4, "cut": 5.12}


@pytest.fixture()
def waves() -> dict[str, np.ndarray]:
    return {name: melody(length_s, number) for number, (name, length_s) in enumerate(LENGTHS_S.items())}


def test_waveforms_of_tracks_and_of_spans_are_the_audio_at_the_lower_rate(
    tmp_path: Path, waves: dict[str, np.ndarray]
) -> None:
    catalogue = make_catalogue(str(tmp_path / "c"), waves)
    tracks = pa.Table.from_batches(catalogue.tracks()).sort_by("track_id")
    references = ReferenceWaveforms(catalogue, tracks)
    segments = segments_of_tracks(catalogue, [(row["track_id"], row["segment_files"]) for row in tracks.to_pylist()])
    for at, features in enumerate(features_of(segments, Fingerprinter(LINEAR).eval(), LINEAR.verify.features)):
        whole = F.resample(torch.from_numpy(waves[features.track_id]), 16_000, RATE_HZ) * SCALE
        length = min(len(whole), int(LENGTHS_S[features.track_id] * RATE_HZ))
        inside = slice(None, length - 16)  # a segment's last samples are filtered with what follows it, here silence
        if features.track_id != "short":  # padded to a window, as its features are
            assert len(features.waveform) == pytest.approx(len(whole), abs=1)
        np.testing.assert_allclose(features.waveform[:length][inside], whole[:length][inside], atol=3)
        for start_s, end_s in ((-1.0, 0.3), (2.0, 6.1), (11.9, 15.0), (0.0, 30.0)):
            found = references.span(at, start_s, end_s)
            assert torch.equal(found, part(features.waveform[:length], start_s, end_s))


def test_few_segments_are_kept(tmp_path: Path) -> None:
    catalogue = make_catalogue(str(tmp_path / "c"), {"a": melody(40.0, 1)})
    references = ReferenceWaveforms(catalogue, pa.Table.from_batches(catalogue.tracks()))
    whole = references.span(0, 0.0, 40.0)
    for second in (39.0, 0.0, 20.0, 1.0):
        assert torch.equal(references.span(0, second, second + 1), part(whole, second, second + 1))
        assert references._core.cache_info().currsize <= KEPT
