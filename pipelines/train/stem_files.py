"""The training tables: spans of aligned stems in Parquet parts, and `stems.json`, which lists the valid parts.

`stems.json` is written last, in one atomic step; parts that it does not name are ignored. A span is 15.36 s long. The
last span of a track ends with the track, and a shorter track (a loop) is repeated to fill one.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from asid_core import schema
from asid_core.config import SAMPLE_RATE_HZ
from asid_core.learning.spans import track_number
from asid_core.signal.decibels import level_db
from asid_core.signal.pcm import from_pcm
from pipelines.store.files import parquet, read_json
from pipelines.store.location import Location, StorageError

SPAN_SAMPLES = round(15.36 * SAMPLE_RATE_HZ)
SILENT_DB = -60.0
QUIET_DB = -25.0  # relative to the mix of a span; quieter stems are not usable as samples
ROWS_PER_GROUP = 4  # a row has 0.5 MB per stem
VALIDATION_SHARE = 10  # one track in ten is held out
# CPUs reserved by a task that reads spans. It mostly waits, and a whole CPU may never become free beside the training
# workers once a node is lost.
READING_CPUS = 0.25


def spans(track_id: str, audio: Mapping[str, np.ndarray]) -> Iterator[dict[str, Any]]:
    """Cut aligned stems (int16 [n] at 16 kHz, by name) into rows of schema.stems. Shorter stems are zero-padded.

    Leaves out silent spans. A silent stem of a span is null; its level is stored.
    """
    length = max(map(len, audio.values()))
    full = {name: np.pad(pcm, (0, length - len(pcm))) for name, pcm in audio.items()}
    if length < SPAN_SAMPLES:
        times = -(-SPAN_SAMPLES // length)
        full, length = {name: np.tile(pcm, times)[:SPAN_SAMPLES] for name, pcm in full.items()}, SPAN_SAMPLES
    count = -(-length // SPAN_SAMPLES)
    for index in range(count):
        start = min(index * SPAN_SAMPLES, length - SPAN_SAMPLES)
        cut = {name: pcm[start : start + SPAN_SAMPLES] for name, pcm in full.items()}
        levels = {name: level_db(from_pcm(pcm)) for name, pcm in cut.items()}
        mix_db = level_db(np.sum([from_pcm(pcm) for pcm in cut.values()], axis=0))
        if mix_db < SILENT_DB:
            continue
        row: dict[str, Any] = {
            "track_id": track_id,
            "span_index": index,
            "start_s": start / SAMPLE_RATE_HZ,
            "num_samples": SPAN_SAMPLES,
            "usable": [name for name, db in levels.items() if db > max(SILENT_DB, mix_db + QUIET_DB)],
        }
        for name, pcm in cut.items():
            row[f"{name}_db"] = levels[name]
            row[f"{name}_pcm"] = pcm.astype("<i2").tobytes() if levels[name] > SILENT_DB else None
        yield row


def write_part(
    part: Location, names: Iterable[str], tracks: Iterable[tuple[str, Mapping[str, np.ndarray]]]
) -> list[int]:
    """Write the spans of `tracks`, pairs of (track_id, stems), and return the number of spans of each.

    names: all stem names of the table. Writes no file if there are no spans.
    """
    table_schema = schema.stems(sorted(names))
    counts, rows = [], []
    for track_id, audio in tracks:
        mine = list(spans(track_id, audio))
        counts.append(len(mine))
        rows += mine
    if rows:
        with part.writing() as stream:
            pq.write_table(
                pa.Table.from_pylist(rows, schema=table_schema),
                stream,
                compression="none",
                row_group_size=ROWS_PER_GROUP,
            )
    return counts


class StemTables:
    """The committed training tables under a URI. Raises StorageError if there are none and `create` is False."""

    def __init__(self, uri: str, create: bool = False) -> None:
        self.location = Location(uri)
        try:
            self.index: dict[str, Any] = read_json(self.location.join("stems.json"))
        except FileNotFoundError:
            if not create:
                raise StorageError(f"no training tables at {self.location}. Make them with asid stems.") from None
            self.index = {"format": 1, "names": [], "tracks": {}, "rejects": {}}

    @property
    def tracks(self) -> dict[str, dict[str, Any]]:
        """track_id -> {version, spans, part}, where `spans` is a count and `part` a file name."""
        tracks: dict[str, dict[str, Any]] = self.index["tracks"]
        return tracks

    def commit(self) -> None:
        """Write `index`, which makes the parts that it names visible."""
        self.location.join("stems.json").write_bytes(json.dumps(self.index, indent=1).encode())

    def count(self, tracks: Iterable[str]) -> int:
        """Number of spans of `tracks`."""
        return sum(self.tracks[track_id]["spans"] for track_id in tracks)

    def split(self, held_out: Iterable[str]) -> tuple[list[str], list[str]]:
        """Split the track ids into (validation, training).

        held_out: prefixes of the ids of validation tracks; if empty, a fixed tenth of the tracks is used.
        Raises StorageError if either part would be empty.
        """
        names, beginnings = [t for t, about in self.tracks.items() if about["spans"]], tuple(held_out)
        if beginnings:
            held = [name for name in names if name.startswith(beginnings)]
        else:
            held = sorted(names, key=track_number)[: max(1, len(names) // VALIDATION_SHARE)]
        rest = sorted(set(names) - set(held))
        if not held or not rest:
            raise StorageError(
                f"{self.location} has {len(names)} tracks, of which training.held_out {list(beginnings)} holds out "
                f"{len(held)}; validation and training each need at least one"
            )
        return held, rest

    def shares(self, tracks: Iterable[str], workers: int) -> list[list[str]]:
        """Divide `tracks` among workers, about equally by spans. A worker's tracks are in neighbouring parts.

        Raises StorageError if there are fewer tracks than workers.
        """
        ordered = sorted(tracks, key=lambda track_id: (self.tracks[track_id]["part"], track_id))
        if len(ordered) < workers:
            raise StorageError(
                f"{self.location} has {len(ordered)} tracks to train on, too few for {workers} workers. Use fewer "
                "workers or more music."
            )
        before = np.cumsum([0, *(self.tracks[track_id]["spans"] for track_id in ordered)])
        wanted = np.searchsorted(before, before[-1] * np.arange(1, workers) / workers)
        # every worker gets a track, however long the others are
        least, most = np.arange(1, workers), len(ordered) - workers + np.arange(1, workers)
        edges = [0, *np.clip(np.maximum.accumulate(wanted), least, most).tolist(), len(ordered)]
        return [ordered[start:stop] for start, stop in itertools.pairwise(edges)]

    def parts(self, tracks: Iterable[str]) -> list[Location]:
        """The part files that hold `tracks`."""
        return [self.location.join(name) for name in sorted({self.tracks[t]["part"] for t in tracks})]

    def read(self, tracks: list[str], rows: int) -> pa.Table:
        """About `rows` spans spread evenly over `tracks`; deterministic."""
        each = -(-rows // len(tracks))
        taken: dict[str, int] = {}
        kept = []
        for batch in self.batches(tracks):
            for i, track_id in enumerate(batch.column("track_id").to_pylist()):
                every = max(self.tracks[track_id]["spans"] // each, 1)
                seen = taken[track_id] = taken.get(track_id, -1) + 1
                if seen % every == 0 and seen // every < each:
                    kept.append(batch.slice(i, 1))
        # shuffled, because neighbouring rows are of one track, and validation needs batches of many tracks
        table = pa.concat_tables(kept)
        return table.take(pa.array(np.random.default_rng(0).permutation(table.num_rows)[:rows]))

    def batches(self, tracks: Iterable[str]) -> Iterator[pa.Table]:
        """Read the spans of `tracks` in this process, a few rows at a time."""
        wanted = pa.array(sorted(tracks), pa.string())
        for part in self.parts(wanted.to_pylist()):
            yield from _of_tracks(part, wanted)

    def dataset(self, tracks: list[str]) -> Any:
        """The spans of `tracks` as a Ray dataset, with the files in a new order each epoch."""
        import ray.data

        # read_parquet would list files in a task that always reserves a whole CPU
        parts = [pa.table({"uri": [part.uri]}) for part in self.parts(tracks)]
        return (
            ray.data.from_arrow(parts)
            .randomize_block_order()
            .map_batches(
                _read,
                batch_format="pyarrow",
                batch_size=None,
                fn_kwargs={"tracks": sorted(tracks)},
                num_cpus=READING_CPUS,
            )
        )


def _read(parts: pa.Table, tracks: list[str]) -> Iterator[pa.Table]:
    """The spans of `tracks` in the files named in column uri."""
    wanted = pa.array(tracks, pa.string())
    for uri in parts["uri"].to_pylist():
        yield from _of_tracks(Location(uri), wanted)


def _of_tracks(part: Location, wanted: pa.Array) -> Iterator[pa.Table]:
    """The rows of the wanted tracks in a part, one row group at a time."""
    with parquet(part) as file:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            yield table.filter(pc.is_in(table.column("track_id"), value_set=wanted))
