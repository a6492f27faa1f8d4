"""The Ray actor of `embed`: reads the segments of some tracks, writes one or more Lance fragments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from asid_core import schema
from asid_core.model.fingerprinter import Fingerprinter
from asid_core.precision import bfloat16_pays
from pipelines.runtime import assigned_device
from pipelines.store import fingerprints
from pipelines.store.audio import Segment, segments_of_tracks
from pipelines.store.catalogue import Catalogue

# A track to embed. One call of an actor gets one block of them.
TRACKS = pa.schema(
    [
        pa.field("track_id", pa.string()),
        pa.field("content_hash", pa.string()),
        pa.field("segment_files", pa.list_(pa.string())),
        pa.field("duration_s", pa.float64()),
    ]
)

# The result of one call, one row
OUTCOMES = pa.schema(
    [
        pa.field("fragments", pa.list_(pa.string())),  # JSON
        pa.field("track_ids", pa.list_(pa.string())),
        pa.field("windows", pa.int64()),
        pa.field("not_finite", pa.int64()),  # vectors with NaN or infinity, which were zeroed
        pa.field("audio_s", pa.float64()),
        pa.field("dtype", pa.string()),
    ]
)


class Embedder:
    """Holds the model on this actor's device, and embeds blocks of tracks."""

    def __init__(self, model: Any, catalogue_uri: str) -> None:
        """model: an ObjectRef of a Fingerprinter, so that its weights are sent to each node only once."""
        import ray

        torch.set_num_threads(1)  # one actor per core is faster than fewer actors with more threads
        self._catalogue = Catalogue(catalogue_uri)
        loaded: Fingerprinter = ray.get(model)
        self._name = fingerprints.table_name(loaded.model_id)
        loaded = loaded.to(assigned_device())
        self._dtype = inference_type(loaded)
        self._model = loaded.for_inference(self._dtype)

    def __call__(self, tracks: pa.Table) -> pa.Table:
        """Embed tracks (rows of TRACKS); returns one row of OUTCOMES."""
        rows = tracks.to_pylist()
        batches = Rows(self._model, {row["track_id"]: row["content_hash"] for row in rows})
        segments = segments_of_tracks(self._catalogue, ((row["track_id"], row["segment_files"]) for row in rows))
        written = fingerprints.write_fragments(self._catalogue, self._name, self._model.dim, batches.of(segments))
        outcome = {
            "fragments": written,
            "track_ids": [row["track_id"] for row in rows],
            "windows": batches.windows,
            "not_finite": batches.not_finite,
            "audio_s": sum(row["duration_s"] for row in rows),
            "dtype": str(self._dtype).removeprefix("torch."),
        }
        return pa.Table.from_pylist([outcome], schema=OUTCOMES)


class Rows:
    """Converts segments of tracks to rows of schema.fingerprints; a batch may span several segments and tracks."""

    def __init__(self, model: Fingerprinter, hashes: dict[str, str]) -> None:
        self.model = model
        self.hashes = hashes
        self.windows = self.not_finite = 0
        self._waiting: list[tuple[str, torch.Tensor, torch.Tensor]] = []  # track_id, window index, level_db
        self._patches: list[torch.Tensor] = []

    def of(self, segments: Iterator[Segment]) -> Iterator[pa.RecordBatch]:
        """Yield rows in order of track and window. Holds the patches of one batch and one segment in memory."""
        for segment in segments:
            features, index, first, level = self.model.segment_windows(
                segment.waveform, segment.start_samples, segment.lead_samples, segment.core_samples
            )
            if not len(index):
                continue
            self._waiting.append((segment.track_id, index, level.cpu()))
            front_end = self.model.front_end
            self._patches.append(front_end.patches(front_end.windows(features)[first.to(features.device)]))
            if sum(map(len, self._patches)) >= self.model.windows_per_batch:
                yield self._flush()
        if self._waiting:
            yield self._flush()

    @torch.no_grad()
    def _flush(self) -> pa.RecordBatch:
        patches = torch.cat(self._patches)
        parts = [self.model.encoder(part)[0] for part in patches.split(self.model.windows_per_batch)]
        vectors = torch.cat(parts).float().cpu()
        finite = vectors.isfinite().all(1)
        vectors[~finite] = 0  # matches nothing, like silence; a NaN would spoil every search
        self.windows += len(vectors)
        self.not_finite += int((~finite).sum())
        batch = self._batch(vectors.numpy())
        self._waiting, self._patches = [], []
        return batch

    def _batch(self, vectors: np.ndarray) -> pa.RecordBatch:
        index = torch.cat([index for _, index, _ in self._waiting]).numpy()
        track_ids = [track_id for track_id, some, _ in self._waiting for _ in range(len(some))]
        hashes = [self.hashes[track_id] for track_id in track_ids]
        dim = vectors.shape[1]
        columns = {
            "fingerprint_id": [f"{h[:16]}-{i}" for h, i in zip(hashes, index, strict=True)],
            "track_id": track_ids,
            "content_hash": hashes,
            "window_index": pa.array(index, pa.int32()),
            "start_s": index * self.model.hop_s,
            "level_db": torch.cat([level for _, _, level in self._waiting]).numpy(),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), dim),
        }
        return pa.RecordBatch.from_pydict(columns, schema=schema.fingerprints(dim))


def inference_type(model: Fingerprinter) -> torch.dtype:
    """bfloat16 if the encoder allows it and the device multiplies it faster, else float32.

    Only the hardware decides. A timed trial would give other vectors on a busy machine.
    """
    return torch.bfloat16 if model.encoder.may_use_bfloat16 and bfloat16_pays(model.device) else torch.float32
