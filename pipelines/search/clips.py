"""Short queries cut from tracks of a catalogue, identified like whole ones: shards of them are Ray tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import torch

from asid_core.config import SAMPLE_RATE_HZ, Config
from asid_core.evaluation.sample100 import Clip
from asid_core.evaluation.truth import track_name
from asid_core.schema import DETECTIONS
from pipelines.runtime import Progress
from pipelines.search.identify import Identifier
from pipelines.search.sweep import find_references
from pipelines.store import detections, fingerprints
from pipelines.store.audio import Piece, pieces_of_tracks
from pipelines.store.catalogue import Catalogue

SWEEP_ID = "cuts"  # of the rows: they are not kept
TASKS_PER_CPU = 4


def identify_clips(
    catalogue: Catalogue,
    config: Config,
    weights: str,
    cuts: Sequence[Clip],
    references: str | None = None,
    progress: Progress | None = None,
) -> pa.Table:
    """Rows (schema.DETECTIONS, low scores included) of every cut whose track is in the catalogue; never of that track.

    `references`: a glob, as for a sweep. A cut that reaches past its track's end is what there is of it. Needs a
    running Ray. Raises CatalogueError where there are no fingerprints.
    """
    import ray

    model = fingerprints.load_model(weights, config)
    tracks, known = find_references(catalogue, model, references)
    rows = {track_name(row["track_id"]): row for row in tracks.to_pylist()}
    by_track: dict[str, list[Clip]] = {}
    for cut in {cut.name: cut for cut in cuts}.values():
        if cut.track in rows:
            by_track.setdefault(cut.track, []).append(cut)
    shards = _shards([(rows[name], some) for name, some in by_track.items()])
    shared = [ray.put((model, config, known))]
    task = ray.remote(num_cpus=1, max_retries=2)(cuts_shard)
    running = {task.remote(catalogue.location.uri, shard, shared): len(shard) for shard in shards}
    done, found = 0, []
    while running:
        (ended,), _ = ray.wait(list(running))
        done += running.pop(ended)
        found.append(ray.get(ended))
        if progress is not None:
            progress({"stage": "cuts", "done": done, "total": len(by_track)})
    return pa.concat_tables([DETECTIONS.empty_table(), *found])


def _shards(work: list[tuple[dict[str, Any], list[Clip]]]) -> list[list[tuple[dict[str, Any], list[Clip]]]]:
    """Tracks with their cuts, so many to a task that no core waits long for the last one."""
    import ray

    count = min(len(work), max(1, TASKS_PER_CPU * int(ray.cluster_resources().get("CPU", 1))))
    return [work[i::count] for i in range(count)]


def cuts_shard(uri: str, work: Sequence[tuple[dict[str, Any], list[Clip]]], shared: list[Any]) -> pa.Table:
    """A Ray task: identify the cuts of some tracks (rows of the track table). shared: one ObjectRef, as in a sweep."""
    import ray

    torch.set_num_threads(1)  # a task a core
    model, config, references = ray.get(shared[0])
    catalogue = Catalogue(uri)
    identifier = Identifier(catalogue, model, config, references)
    identifier.excerpts({cut.name: row["track_id"] for row, cuts in work for cut in cuts})
    pieces = (piece for row, cuts in work for piece in _pieces(catalogue, row, cuts))
    return detections.table((one for _, found in identifier.identify(pieces) for one in found), SWEEP_ID)


def _pieces(catalogue: Catalogue, track: dict[str, Any], cuts: Sequence[Clip]) -> Iterator[Piece]:
    """The audio of each cut as a recording of its own, named after it."""
    pieces = pieces_of_tracks(catalogue, [(track["track_id"], track["segment_files"])])
    waveform = torch.cat([p.waveform[p.lead_samples : p.lead_samples + p.core_samples] for p in pieces])
    for cut in cuts:
        first, last = (round(second * SAMPLE_RATE_HZ) for second in (cut.start_s, cut.end_s))
        audio = waveform[first:last]
        if len(audio):
            yield Piece(cut.name, 0, 0, len(audio), audio)
