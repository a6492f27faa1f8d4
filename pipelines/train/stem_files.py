"""The training tables of stems: spans of aligned stems in Parquet, and the one file that says which parts count.

`stems.json` is written last, in one atomic step: a part that it does not name is garbage. A span is 15.36 s; the last
of a track ends with it, and a shorter track (a loop) is repeated to fill one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from asid_core import schema
from asid_core.config import SAMPLE_RATE_HZ
from asid_core.learning.spans import track_number
from pipelines.store.files import parquet, read_json
from pipelines.store.location import Location, StorageError

SPAN_SAMPLES = round(15.36 * SAMPLE_RATE_HZ)
SILENT_DB = -60.0
QUIET_DB = -25.0  # below the whole mix of the span: not heard as a sample
ROWS_PER_GROUP = 4  # of 0.5 MB a stem
VALIDATION_SHARE = 10
# of a task that reads spans: it mostly waits. A whole one may be free nowhere once training has its workers and a node
# is lost: with 3/4 of each node's only CPU taken, training hung for ever
READING_CPUS = 0.25


def spans(track_id: str, audio: Mapping[str, np.ndarray]) -> Iterator[dict[str, Any]]:
    """Rows (schema.stems) of aligned int16 stems [n]; shorter ones are taken as silent at their end.

    A span in which nothing sounds is left out; a silent stem in it is null, marked by its level.
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
        levels = {name: level_db(pcm) for name, pcm in cut.items()}
        mix_db = level_db(np.sum([pcm.astype(np.float32) for pcm in cut.values()], axis=0))
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


def level_db(pcm: np.ndarray) -> float:
    """RMS of int16-scaled samples in dBFS, -120 for silence."""
    power = float(np.square(pcm, dtype=np.float64).mean()) / 32_768**2
    return max(10 * math.log10(power), -120.0) if power else -120.0


def write_part(
    part: Location, names: Iterable[str], tracks: Iterable[tuple[str, Mapping[str, np.ndarray]]]
) -> list[int]:
    """Write the spans of `tracks`; returns how many each has. No file where there are none."""
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
    """The committed training tables under a URI. Raises StorageError where there are none, unless `create`."""

    def __init__(self, uri: str, create: bool = False) -> None:
        self.location = Location(uri)
        try:
            self.index: dict[str, Any] = read_json(self.location.join("stems.json"))
        except FileNotFoundError:
            if not create:
                raise StorageError(f"no training tables at {self.location}: make them with asid stems") from None
            self.index = {"format": 1, "names": [], "tracks": {}, "rejects": {}}

    @property
    def tracks(self) -> dict[str, dict[str, Any]]:
        """{track_id: {version, spans, part}}"""
        tracks: dict[str, dict[str, Any]] = self.index["tracks"]
        return tracks

    def commit(self) -> None:
        """Make what `index` names visible."""
        self.location.join("stems.json").write_bytes(json.dumps(self.index, indent=1).encode())

    def count(self, tracks: Iterable[str]) -> int:
        """Spans of `tracks`."""
        return sum(self.tracks[track_id]["spans"] for track_id in tracks)

    def split(self, held_out: Iterable[str]) -> tuple[list[str], list[str]]:
        """(validation, training): tracks whose id begins with one of `held_out`; none given: every tenth.

        Raises StorageError where one of the two would be empty.
        """
        names, beginnings = [t for t, about in self.tracks.items() if about["spans"]], tuple(held_out)
        if beginnings:
            held = [name for name in names if name.startswith(beginnings)]
        else:
            held = sorted(names, key=track_number)[: max(1, len(names) // VALIDATION_SHARE)]
        rest = sorted(set(names) - set(held))
        if not held or not rest:
            raise StorageError(
                f"{self.location} has {len(names)} tracks, {len(held)} of them held out by training.held_out "
                f"{list(beginnings)}: both to validate and to train on some are needed"
            )
        return held, rest

    def parts(self, tracks: Iterable[str]) -> list[Location]:
        """The files in which `tracks` are."""
        return [self.location.join(name) for name in sorted({self.tracks[t]["part"] for t in tracks})]

    def read(self, tracks: list[str], rows: int) -> pa.Table:
        """About `rows` spans spread over `tracks`, the same every time."""
        each = -(-rows // len(tracks))
        taken: dict[str, int] = {}
        kept = []
        for batch in self.batches(tracks):
            for i, track_id in enumerate(batch.column("track_id").to_pylist()):
                every = max(self.tracks[track_id]["spans"] // each, 1)
                seen = taken[track_id] = taken.get(track_id, -1) + 1
                if seen % every == 0 and seen // every < each:
                    kept.append(batch.slice(i, 1))
        # neighbours in the table are of one track; validation wants batches of many
        table = pa.concat_tables(kept)
        return table.take(pa.array(np.random.default_rng(0).permutation(table.num_rows)[:rows]))

    def batches(self, tracks: Iterable[str]) -> Iterator[pa.Table]:
        """The spans of `tracks`, a few rows at a time, read here."""
        wanted = pa.array(sorted(tracks), pa.string())
        for part in self.parts(wanted.to_pylist()):
            yield from _of_tracks(part, wanted)

    def dataset(self, tracks: list[str]) -> Any:
        """The spans of `tracks` as a Ray dataset, files in another order every epoch."""
        import ray.data

        # not read_parquet: it lists files in a task of a whole CPU, and takes no other
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
    """The spans of `tracks` in some files (column uri)."""
    wanted = pa.array(tracks, pa.string())
    for uri in parts["uri"].to_pylist():
        yield from _of_tracks(Location(uri), wanted)


def _of_tracks(part: Location, wanted: pa.Array) -> Iterator[pa.Table]:
    """The rows of some tracks in a part, a row group at a time."""
    with parquet(part) as file:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            yield table.filter(pc.is_in(table.column("track_id"), value_set=wanted))
