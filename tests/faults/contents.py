"""The contents of a catalogue that must be equal between runs, whenever and wherever it was made."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from pipelines.store import detections, fingerprints
from pipelines.store.catalogue import Catalogue
from pipelines.store.segments import read_segments
from tests.pipelines.catalogues import newest_sweep

OF_THE_RUN = ("uri", "version", "run_id", "segment_files")
SPANS = ("query_start_s", "query_end_s", "reference_start_s", "reference_end_s")


@dataclass(frozen=True)
class Contents:
    """Tables by key."""

    tracks: dict[str, dict[str, Any]]
    segments: dict[tuple[str, int], str]  # digest of the audio
    rejects: dict[str, str]
    fingerprints: dict[str, dict[tuple[str, int], np.ndarray]]  # by model, by track and window
    detections: list[dict[str, Any]]  # of the newest sweep

    @property
    def counts(self) -> dict[str, int]:
        """Rows of each table."""
        return {
            "tracks": len(self.tracks),
            "segments": len(self.segments),
            "rejects": len(self.rejects),
            "fingerprints": sum(map(len, self.fingerprints.values())),
            "detections": len(self.detections),
        }


def contents(uri: str) -> Contents:
    """Read all tables. Fails if a fingerprint is there twice."""
    catalogue = Catalogue(uri)
    tracks = {row["track_id"]: row for batch in catalogue.tracks() for row in batch.to_pylist()}
    vectors: dict[str, dict[tuple[str, int], np.ndarray]] = {}
    for name in fingerprints.tables(catalogue):
        table = catalogue.table(name)
        assert table is not None
        # by track and window: a fingerprint_id is of the audio, so a copy has the same ones
        rows = table.to_table(columns=["track_id", "window_index", "vector"])
        ids = list(zip(rows["track_id"].to_pylist(), rows["window_index"].to_pylist(), strict=True))
        assert len(ids) == len(set(ids))
        flat = rows["vector"].combine_chunks().flatten().to_numpy()
        vectors[name] = dict(zip(ids, flat.reshape(len(ids), -1), strict=True))
    sweep_id = newest_sweep(catalogue)
    found = detections.detections(catalogue, sweep_id).to_pylist() if sweep_id else []
    return Contents(
        {key: {k: v for k, v in row.items() if k not in OF_THE_RUN} for key, row in tracks.items()},
        dict(_segments(catalogue, tracks.values())),
        {row["track_id"]: row["error"] for row in catalogue.rejects().to_pylist()},
        vectors,
        sorted(found, key=lambda row: [row["query_id"], row["reference_id"], *(round(row[k], 2) for k in SPANS)]),
    )


def _segments(catalogue: Catalogue, tracks: Iterable[dict[str, Any]]) -> Iterable[tuple[tuple[str, int], str]]:
    for batch in read_segments(catalogue, [(row["track_id"], row["segment_files"]) for row in tracks]):
        for row in batch.to_pylist():
            yield (row["track_id"], row["segment_index"]), hashlib.blake2b(row["pcm"], digest_size=8).hexdigest()


def assert_equal(some: Contents, others: Contents) -> None:
    """Fails unless both have the same rows. Vectors and scores may differ by the rounding of another batch size."""
    assert some.counts == others.counts
    assert (some.tracks, some.segments, some.rejects) == (others.tracks, others.segments, others.rejects)
    assert some.fingerprints.keys() == others.fingerprints.keys()
    for name, vectors in some.fingerprints.items():
        assert vectors.keys() == others.fingerprints[name].keys()
        for key, vector in vectors.items():
            np.testing.assert_allclose(vector, others.fingerprints[name][key], atol=1e-4)
    for row, other in zip(some.detections, others.detections, strict=True):
        for name in ("query_id", "reference_id", "kind", "model_id", "rank"):
            assert row[name] == other[name]
        numbers = [*SPANS, "score", "coarse_score", "verify_score", "tempo_ratio", "pitch_semitones"]
        assert [row[k] for k in numbers] == pytest.approx([other[k] for k in numbers], abs=1e-2)
