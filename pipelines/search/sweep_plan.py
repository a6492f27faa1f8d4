"""Plans a sweep: its tracks and shards, its id, and the earlier sweep that it continues. Reads no audio, no vectors."""

from __future__ import annotations

import array
import fnmatch
import hashlib
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from asid_core.config import Config
from asid_core.model.fingerprinter import Fingerprinter
from asid_core.plain_values import to_dict
from pipelines.driver import WAVE
from pipelines.search import incremental
from pipelines.search.exact import References, num_rows
from pipelines.search.exact_or_votes import needed, takes_votes
from pipelines.search.identify import SEARCH_BYTES, TOGETHER_S
from pipelines.search.incremental import Base
from pipelines.store import detections, fingerprints
from pipelines.store.catalogue import Catalogue, CatalogueError
from pipelines.store.embedded import embedded
from pipelines.store.pairs import both

log = logging.getLogger(__name__)

SHARDS = 64  # minimum, if there are enough tracks, so that small catalogues keep all cores busy
LAYOUT = 3  # version of the files of a sweep; sweeps of another version cannot be reused
# Raise it with a change of the code that changes detections: the next sweep of a catalogue is then a full one. The
# version of asid in its place would make every upgrade a full sweep.
ALGORITHM = 10
SETTINGS = ("probes", "search", "verify", "score")  # sections of the config that affect detections
BY_VOTES = "-votes"  # in the id of a sweep
TRACKS_IN_JSON = '"tracks": []'
TRACKS = ("track_id", "content_hash", "segment_files", "num_segments", "duration_s")


@dataclass(frozen=True)
class Plan:
    """The work of a sweep. `queries`: the tracks to search (columns TRACKS), by id.

    With a `base`, these are the new tracks. The detections of the others are copied from its parts.
    """

    sweep_id: str
    model: Fingerprinter
    references: References
    queries: pa.Table
    known: pa.Table  # track_id, content_hash of all tracks with fingerprints
    settings: str  # digest of everything that affects the result, except the tracks
    num_queries: int  # including those whose detections are copied
    rows: int  # of the fingerprint table
    takes_votes: bool
    base: Base | None = None  # the sweep whose detections are reused
    copied: Sequence[Sequence[str]] = ()  # names of the parts of the base that become one

    def head(self) -> dict[str, Any]:
        """The fields of sweep.json that describe the plan."""
        return {
            "sweep_id": self.sweep_id,
            "model_id": self.references.model_id,
            "queries": self.num_queries,
            "references": self.references.tracks.num_rows,
            "settings": self.settings,
            "votes": self.takes_votes,
            "base": self.base.sweep_id if self.base else None,
        }

    def shards(self, config: Config) -> np.ndarray:
        """The first query of each searched shard, and the number of queries: int64 [shards + 1].

        A resumed sweep has the same. Shards that are copied have the numbers after them.

        A shard has as many tracks as a worker searches together, because each shard reads all references.
        """
        most_s = searched_together_s(config, self.model.dim, self.references.hop_s)
        most = max(1, min(config.search.shard_tracks, -(-len(self.queries) // SHARDS)))
        edges = array.array("q")
        left_s = 0.0
        for number, duration_s in enumerate(self.queries["duration_s"].to_numpy()):
            if left_s <= 0 or number - edges[-1] == most:
                edges.append(number)
                left_s = most_s
            left_s -= duration_s
        return np.array([*edges, len(self.queries)])


def searched_together_s(config: Config, dim: int, hop_s: float) -> float:
    """Duration of the query tracks that a worker searches together. hop_s: between windows of the references."""
    bytes_s = 2 * dim * len(config.probes.grid) / (config.probes.query_hop_s or hop_s)
    return min(TOGETHER_S, SEARCH_BYTES / bytes_s)


def plan_sweep(
    catalogue: Catalogue,
    config: Config,
    model: Fingerprinter,
    query_glob: str | None,
    reference_glob: str | None,
    new_only: bool,
) -> Plan:
    tracks, references = find_references(catalogue, model, reference_glob)
    values = to_dict(config)
    decisive: dict[str, Any] = {name: values[name] for name in SETTINGS}
    decisive |= {"globs": [query_glob, reference_glob], "algorithm": ALGORITHM}
    decisive |= {"model": model.model_id, "reranker": _reranker_id(model), "layout": LAYOUT}
    settings = _digest(decisive)
    known = tracks.select(TRACKS[:2])
    key = _digest(decisive, known)
    same = [name for name in detections.ids(catalogue) if f"-{key}" in name]
    ended = [name for name in same if detections.folder(catalogue, name).join(detections.HEAD).exists()]
    whole = query_glob is None and reference_glob is None
    if new_only and not whole:
        log.warning("sweep: with --queries or --references, all pairs are searched, not only those of new tracks")
    reusable = incremental.find_base(catalogue, settings, known) if new_only and whole and not ended else None
    base, queries, is_new, suffix = None, named(tracks, query_glob), pa.repeat(True, len(tracks)), ""
    num_queries = len(queries)
    if reusable is not None:  # its shards differ from those of a full sweep, so it needs another key
        base, is_known = reusable
        suffix = f"-{_digest(base.sweep_id)}"
        is_new = pc.invert(is_known)
        queries = tracks.filter(is_new)
        log.info("sweep: %d tracks are new since sweep %s", len(queries), base.sweep_id)
    if whole:
        references = replace(references, order=_order(tracks, is_new))
    rows = num_rows(catalogue, references)
    # one that has begun goes on as it was; an ended one serves, whether it took votes or compared every row
    if begun := ended or [name for name in same if name.endswith((f"-{key}{suffix}", f"-{key}{BY_VOTES}{suffix}"))]:
        sweep_id, votes = begun[-1], f"-{key}{BY_VOTES}" in begun[-1]
    else:
        queries_s = float(np.sum(queries["duration_s"].to_numpy()))
        votes = takes_votes(rows, queries_s, needed(references, config, model.dim), config.search)
        sweep_id = f"{_now()}-{key}{BY_VOTES if votes else ''}{suffix}"
    copied = incremental.parts_to_copy(catalogue, base) if base else ()
    return Plan(sweep_id, model, references, queries, known, settings, num_queries, rows, votes, base, copied)


def _now() -> str:
    """The time in UTC, at the front of ids, which so sort by it."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())


def _order(tracks: pa.Table, is_new: pa.Array) -> np.ndarray:
    """`References.order`: new tracks last, so that they are searched in all others.

    Hashes deal the pairs of the same age evenly, and do not change with the names of files.
    """
    keys = pa.table({"is_new": is_new, "content_hash": tracks["content_hash"], "track_id": tracks["track_id"]})
    order = np.empty(len(tracks), np.int32)
    order[pc.sort_indices(keys, [(name, "ascending") for name in keys.column_names])] = np.arange(len(tracks))
    return order


def _digest(values: Any, tracks: pa.Table | None = None) -> str:
    """A digest of `values` as JSON, with [track_id, content_hash] of each of the `tracks` under the key "tracks"."""
    text = json.dumps(values if tracks is None else values | {"tracks": []}, sort_keys=True)
    before, here, after = text.partition(TRACKS_IN_JSON) if tracks is not None else (text, "", "")
    digest = hashlib.blake2b((before + here[:-1]).encode(), digest_size=6)
    for number, batch in enumerate(tracks.to_batches(max_chunksize=WAVE) if tracks is not None else ()):
        some = json.dumps([list(row.values()) for row in batch.to_pylist()])[1:-1]
        digest.update((", " * (number > 0) + some).encode())
    digest.update((here[-1:] + after).encode())
    return digest.hexdigest()


def named(tracks: pa.Table, glob: str | None) -> pa.Table:
    """Those of `tracks` whose id matches the glob; None: all."""
    if glob is None:
        return tracks
    return tracks.filter(pa.array(fnmatch.fnmatchcase(track_id, glob) for track_id in tracks["track_id"].to_pylist()))


def find_references(catalogue: Catalogue, model: Fingerprinter, glob: str | None = None) -> tuple[pa.Table, References]:
    """The live tracks with fingerprints (columns TRACKS, by id), and the references: those that match `glob`.

    Raises CatalogueError if there are none.
    """
    table = catalogue.table(fingerprints.table_name(model.model_id))
    ready = embedded(catalogue, fingerprints.table_name(model.model_id), table)
    live = pa.Table.from_batches(catalogue.tracks(columns=TRACKS)) if catalogue.count_tracks() else None
    if table is None or live is None or not ready.num_rows:
        raise CatalogueError(
            f"no fingerprints of model {model.model_id} in {catalogue.location}. Run asid embed first."
        )
    tracks = both(live, ready).sort_by("track_id")
    if missing := live.num_rows - tracks.num_rows:
        log.warning("%d tracks have no fingerprints of model %s yet: asid embed makes them", missing, model.model_id)
    chosen = named(tracks, glob).combine_chunks()
    return tracks, References(model.model_id, table.version, chosen, model.window_s, model.hop_s)


def _reranker_id(model: Fingerprinter) -> str | None:
    """A digest of the reranker, which affects detections. `model_id` does not include it; fingerprints are the same."""
    if model.reranker is None:
        return None
    digest = hashlib.blake2b(digest_size=6)
    for _, value in sorted(model.reranker.state_dict().items()):
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()
