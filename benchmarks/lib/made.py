"""Makes synthetic catalogues without audio, by writing rows and fingerprints directly."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from asid_core import schema
from asid_core.config import Config
from asid_core.schema import TRACKS
from pipelines.store import fingerprints
from pipelines.store.catalogue import Catalogue

TRACKS_PER_PART = 1000
Vectors = Callable[[int, int], npt.NDArray[np.float32]]  # (first track, tracks) -> [tracks, windows, dim]


class Made:
    """A synthetic catalogue of tracks of equal length, and its corpus of files of one byte."""

    def __init__(self, folder: Path, tracks: int, config: Config, weights: str, prefix: str = "") -> None:
        """A new catalogue in `folder`, or more tracks for the one that is there. prefix: of the tracks' names."""
        self.corpus, self.config = folder / "corpus", config
        self.catalogue = Catalogue(str(folder / "catalogue"), create=True, geometry=config.segment)
        self.names = [f"{prefix}{n // 1000:04d}/{n:08d}.wav" for n in range(tracks)]
        self.model = fingerprints.load_model(weights, config)
        self.model_id = self.model.model_id
        for n in range(0, tracks, 1000):
            (self.corpus / self.names[n]).parent.mkdir(parents=True)

    def write_tracks(self) -> None:
        for start in range(0, len(self.names), 20_000):
            rows = [self._track(n, self.names[n]) for n in range(start, min(start + 20_000, len(self.names)))]
            with self.catalogue.writing("benchmark"):
                self.catalogue.commit_tracks(pa.Table.from_pylist(rows, schema=TRACKS))

    def _track(self, number: int, name: str) -> dict[str, Any]:
        file = self.corpus / name
        file.write_bytes(b"x")
        info = os.stat(file)
        row: dict[str, Any] = {"track_id": name, "uri": str(file), "content_hash": f"{number:032x}", "run_id": "made"}
        row |= {"size_bytes": info.st_size, "version": str(info.st_mtime_ns), "duration_s": 240.0}
        return row | {"num_segments": 8, "segment_files": [f"segments/made/part-{number // 8:06d}.parquet"]}

    def write_fingerprints(self, vectors: Vectors) -> None:
        name, dim = fingerprints.table_name(self.model_id), self.model.dim
        with self.catalogue.writing("benchmark"):
            seen = fingerprints.create(self.catalogue, name, dim).version
        written: list[str] = []
        for start in range(0, len(self.names), TRACKS_PER_PART):
            part = self._rows(start, vectors(start, min(TRACKS_PER_PART, len(self.names) - start)))
            written += fingerprints.write_fragments(self.catalogue, name, dim, [part])
        with self.catalogue.writing("benchmark"):
            fingerprints.append(self.catalogue, name, written, self.names, seen)

    def _rows(self, start: int, vectors: npt.NDArray[np.float32]) -> pa.RecordBatch:
        tracks, windows, dim = vectors.shape
        window, track = np.tile(np.arange(windows), tracks), np.arange(start, start + tracks).repeat(windows)
        columns = {
            "fingerprint_id": [f"{n:016x}-{i}" for n, i in zip(track, window, strict=True)],
            "track_id": [self.names[n] for n in track],
            "content_hash": [f"{n:032x}" for n in track],
            "window_index": pa.array(window, pa.int32()),
            "start_s": window * self.model.hop_s,
            "level_db": np.full(len(track), -20.0, np.float32),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), dim),
        }
        return pa.RecordBatch.from_pydict(columns, schema=schema.fingerprints(dim))
