"""Identifies clips of catalogue tracks, as short queries. Ray tasks process shards of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import torch

from asid_core.config import SAMPLE_RATE_HZ, Config
from asid_core.evaluation.sample100 import Clip
from asid_core.evaluation.truth import track_name
from asid_core.schema import DETECTIONS
from pipelines.driver import Stage, cpus, drive, run_tasks
from pipelines.runtime import ProgressCallback
from pipelines.search.identify import Identifier
from pipelines.search.sweep_plan import find_references
from pipelines.store import detections, fingerprints
from pipelines.store.audio import Segment, segments_of_tracks
from pipelines.store.catalogue import Catalogue

SWEEP_ID = "clips"  # of the rows, which are not stored
TASKS_PER_CPU = 4

TrackClips = tuple[dict[str, Any], list[Clip]]  # a row of the track table, and the clips of that track


def identify_clips(
    catalogue: Catalogue,
    config: Config,
    weights: str,
    clips: Sequence[Clip],
    references: str | None = None,
    progress: ProgressCallback | None = None,
) -> pa.Table:
    """Detections (schema.DETECTIONS, including low scores) of the clips whose tracks are in the catalogue.

    The own track of a clip is not searched. `references`: a glob, as for a sweep. A clip that extends beyond its track
    is shortened. Needs a running Ray. Raises CatalogueError if there are no fingerprints.
    """
    model = fingerprints.load_model(weights, config)
    tracks, known = find_references(catalogue, model, references)
    rows = {track_name(row["track_id"]): row for row in tracks.to_pylist()}
    by_track: dict[str, list[Clip]] = {}
    for clip in {clip.name: clip for clip in clips}.values():
        if clip.track in rows:
            by_track.setdefault(clip.track, []).append(clip)
    stage = _Clips(catalogue, (model, config, known), [(rows[name], some) for name, some in by_track.items()])
    drive(stage, progress)
    return pa.concat_tables([DETECTIONS.empty_table(), *stage.detections])


class _Clips(Stage[list[TrackClips], tuple[int, pa.Table]]):
    """The driver's part. Deals the tracks to tasks, small enough that no core waits long for the last one."""

    name = "clips"

    def __init__(self, catalogue: Catalogue, shared: tuple[Any, ...], work: list[TrackClips]) -> None:
        self._catalogue, self._shared, self._work = catalogue, shared, work
        self._tracks = 0
        self.detections: list[pa.Table] = []

    def todo(self) -> list[list[TrackClips]]:
        count = min(len(self._work), TASKS_PER_CPU * cpus())
        return [self._work[i::count] for i in range(count)]

    def submit(self, items: list[list[TrackClips]]) -> Iterator[tuple[int, pa.Table]]:
        import ray

        shared = [ray.put(self._shared)]
        arguments = ((self._catalogue.location.uri, tracks, shared) for tracks in items)
        return ((len(items[at]), rows) for at, rows in run_tasks(clips_shard, arguments))

    def take(self, outcome: tuple[int, pa.Table]) -> None:
        self._tracks += outcome[0]
        self.detections.append(outcome[1])

    def counts(self) -> dict[str, Any]:
        return {"done": self._tracks, "total": len(self._work)}


def clips_shard(uri: str, work: Sequence[TrackClips], shared: list[Any]) -> pa.Table:
    """A Ray task: identify the clips of some tracks (rows of the track table). shared: one ObjectRef, as in a sweep."""
    import ray

    torch.set_num_threads(1)  # each task has one core
    model, config, references = ray.get(shared[0])
    catalogue = Catalogue(uri)
    identifier = Identifier(catalogue, model, config, references)
    identifier.excerpts({clip.name: row["track_id"] for row, clips in work for clip in clips})
    segments = (segment for row, clips in work for segment in _segments(catalogue, row, clips))
    return detections.table((one for _, found in identifier.identify(segments) for one in found), SWEEP_ID)


def _segments(catalogue: Catalogue, track: dict[str, Any], clips: Sequence[Clip]) -> Iterator[Segment]:
    """The audio of each clip as a recording of its own, named after the clip."""
    segments = segments_of_tracks(catalogue, [(track["track_id"], track["segment_files"])])
    waveform = torch.cat([p.waveform[p.lead_samples : p.lead_samples + p.core_samples] for p in segments])
    for clip in clips:
        first, last = (round(second * SAMPLE_RATE_HZ) for second in (clip.start_s, clip.end_s))
        audio = waveform[first:last]
        if len(audio):
            yield Segment(clip.name, 0, 0, len(audio), audio)
