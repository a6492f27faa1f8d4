"""Synthetic tracks with silent audio beside those of a benchmark."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from asid_core.config import SAMPLE_RATE_HZ, load
from benchmarks.lib.synthetic import ROWS_PER_TRACK
from benchmarks.voted_sweep import WAYS, Silent
from pipelines.driver import Room
from pipelines.search.exact_or_votes import takes_votes
from pipelines.search.sweep_plan import find_references
from pipelines.store.audio import segments_of_tracks


def test_silent_tracks_have_as_much_audio_as_fingerprints(tmp_path: Path) -> None:
    config, rng = load("linear"), np.random.default_rng(0)
    made = Silent(tmp_path, 3, config, "linear", prefix="references/silent_")
    made.write_audio()
    made.write_tracks()
    made.write_fingerprints(lambda _, count: rng.standard_normal((count, ROWS_PER_TRACK, made.model.dim), np.float32))
    tracks, references = find_references(made.catalogue, made.model, "references/*")
    assert references.num_rows == 3 * ROWS_PER_TRACK
    for row in tracks.to_pylist():
        segments = list(segments_of_tracks(made.catalogue, [(row["track_id"], row["segment_files"])]))
        assert len(segments) == row["num_segments"] and segments[-1].is_last
        assert sum(segment.core_samples for segment in segments) == row["duration_s"] * SAMPLE_RATE_HZ
        assert not any(segment.waveform.any() for segment in segments)


def test_one_sweep_compares_every_row_and_the_other_takes_votes() -> None:
    exact, votes = (load("discriminant", [setting]).search for setting in WAYS.values())
    assert takes_votes(4_000_000, 1e6, Room(0, 0), votes) and not takes_votes(4_000_000, 1e6, Room(0, 0), exact)
