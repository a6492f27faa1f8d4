"""Compares tracks by (track_id, content_hash), in Arrow's memory: Python tuples of both take 400 bytes a track."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

PAIR = ["track_id", "content_hash"]
EMPTY = pa.table({name: pa.array([], pa.string()) for name in PAIR})


def are_in(tracks: pa.Table, others: pa.Table) -> pa.ChunkedArray:
    """Whether each row of `tracks` is also in `others`: bool [n]. Both have the columns PAIR."""
    return pc.is_in(_keys(tracks), value_set=_keys(others).combine_chunks())


def both(tracks: pa.Table, others: pa.Table) -> pa.Table:
    """The rows of `tracks` that are in `others`, in their order."""
    return tracks.filter(are_in(tracks, others))


def without(tracks: pa.Table, others: pa.Table) -> pa.Table:
    """The rows of `tracks` that are not in `others`, in their order."""
    return tracks.filter(pc.invert(are_in(tracks, others)))


def place_in(tracks: pa.Table, others: pa.Table) -> pa.ChunkedArray:
    """The number of each row of `tracks` in `others`: int32 [n], null for those that are not there."""
    return pc.index_in(_keys(tracks), value_set=_keys(others).combine_chunks())


def as_tuples(tracks: pa.Table) -> list[tuple[str, str]]:
    """(track_id, content_hash) of each row, for tables of a few tracks."""
    return list(zip(*(tracks[name].to_pylist() for name in PAIR), strict=True))


def moved(gone: pa.Table, new: pa.Table) -> dict[tuple[str, str], str]:
    """Which of the tracks `gone` are among `new` under another id: (old id, hash) -> new id, each used once."""
    stale = {content_hash: track_id for track_id, content_hash in sorted(as_tuples(gone))}
    known = pa.array(stale, pa.string())
    moves: dict[tuple[str, str], str] = {}
    for track_id, content_hash in sorted(as_tuples(new.filter(pc.is_in(new["content_hash"], value_set=known)))):
        if content_hash in stale:
            moves[stale.pop(content_hash), content_hash] = track_id
    return moves


def _keys(tracks: pa.Table) -> pa.ChunkedArray:
    """One string for each row. Neither part contains the null byte between them, so different pairs differ."""
    # large strings, because 2 GB of keys, the limit of others, are 40 million tracks
    columns = (tracks[name].cast(pa.large_string()) for name in reversed(PAIR))
    return pc.binary_join_element_wise(*columns, pa.scalar("\0", pa.large_string()))
