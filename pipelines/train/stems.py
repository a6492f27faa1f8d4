"""Recordings -> training tables of stems: folders of stems, mixes whole or separated, MIDI rendered."""

from __future__ import annotations

import logging
import posixpath
import re
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from asid_core.config import Config
from asid_core.learning.midi import FAMILIES
from asid_core.learning.separation import pretrained_separator
from asid_core.signal.formats import AUDIO_SUFFIXES
from pipelines.ingest.corpus import Corpus, Refusal
from pipelines.runtime import Progress
from pipelines.store.location import Entry, Location, StorageError
from pipelines.train.render_midi import sound_font
from pipelines.train.stem_files import StemTables
from pipelines.train.stem_task import SOURCES, stem_batch

__all__ = ["StemSummary", "StemTables", "stems"]

log = logging.getLogger(__name__)

Kind = Literal["stems", "mix", "separate", "midi"]
SEPARATED = ("drums", "bass", "other", "vocals")
MIXES = ("mix", "mixture")  # lies beside the stems it is the sum of (MUSDB)
TRACKS_PER_TASK = 4
TASK_RETRIES = 2
RENDERINGS = 2  # of a MIDI file: as it is written, and varied


@dataclass(frozen=True)
class StemSummary:
    """Counts of one run; every track is in exactly one of the first three."""

    tracks: int = 0
    already: int = 0
    rejects: int = 0
    spans: int = 0
    audio_s: float = 0.0


def stems(
    source_uri: str, kind: Kind, output_uri: str, config: Config, progress: Progress | None = None
) -> StemSummary:
    """Bring the tables at `output_uri` up to date with the music at `source_uri`; needs a running Ray.

    Committed every minute, so a killed run is simply started again. Raises StorageError for sources
    that are not there, tables made of other stems, and (before any work) where FluidSynth or the separator are missing.
    """
    if kind == "midi":
        sound_font()
    elif kind == "separate":
        pretrained_separator()
    tables = StemTables(output_uri, create=True)
    sources = list(_sources(source_uri, kind, tables))
    names = sorted({"midi": FAMILIES, "separate": SEPARATED}.get(kind) or {n for s in sources for n in s["names"]})
    if tables.index["names"] and names and not set(names) <= set(tables.index["names"]):
        raise StorageError(
            f"{tables.location} has the stems {tables.index['names']}, these are {names}: use another --output"
        )
    tables.index["names"] = tables.index["names"] or names
    todo = [s for s in sources if tables.tracks.get(s["track_id"], {}).get("version") != s["version"]]
    rejected = tables.index["rejects"]
    again = [s for s in todo if rejected.get(s["track_id"], {}).get("version") == s["version"]]
    todo = [s for s in todo if s not in again]
    counts = {"tracks": 0, "already": len(sources) - len(todo) - len(again), "rejects": len(again), "spans": 0}
    audio_s = 0.0
    for outcome in _outcomes(todo, tables, config):
        audio_s += _take(outcome, tables, counts)
        if progress is not None:
            progress({"stage": "stems", "done": counts["tracks"] + counts["rejects"], "total": len(sources)})
    tables.commit()
    return StemSummary(**counts, audio_s=audio_s)


def _take(outcome: dict[str, Any], tables: StemTables, counts: dict[str, int]) -> float:
    track_id, version = outcome["track_id"], outcome["version"]
    tables.tracks.pop(track_id, None)
    tables.index["rejects"].pop(track_id, None)
    if outcome["error"]:
        tables.index["rejects"][track_id] = {"version": version, **{k: outcome[k] for k in ("error_type", "error")}}
        log.info("refused %s: %s", track_id, outcome["error"])
        counts["rejects"] += 1
        return 0.0
    tables.tracks[track_id] = {"version": version, "spans": outcome["spans"], "part": outcome["part"]}
    counts["tracks"] += 1
    counts["spans"] += outcome["spans"]
    return float(outcome["audio_s"])


def _outcomes(todo: list[dict[str, Any]], tables: StemTables, config: Config) -> Iterator[dict[str, Any]]:
    """Results (stem_task.OUTCOMES) as tasks end; what has come is committed every minute."""
    import warnings

    import ray.data

    if not todo:
        return
    run_id = f"{time.strftime('%Y%m%dT%H%M%S')}-{uuid.uuid4().hex[:8]}"
    # neighbours in a listing are of one composer; a part of many mixes better in training
    blocks = -(-len(todo) // TRACKS_PER_TASK)
    pieces = [pa.Table.from_pylist(todo[i::blocks], schema=SOURCES) for i in range(blocks)]
    options = {"output_uri": tables.location.uri, "run_id": run_id, "names": tables.index["names"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # as in segment: Ray has no other place for max_retries
        outcomes = ray.data.from_arrow(pieces).map_batches(
            stem_batch,
            batch_size=None,
            batch_format="pyarrow",
            fn_kwargs=options | {"config": config.segment},
            max_retries=TASK_RETRIES,
        )
    committed = time.monotonic()
    for batch in outcomes.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        yield from batch.to_pylist()
        if time.monotonic() - committed > 60:
            tables.commit()
            committed = time.monotonic()


def _sources(uri: str, kind: Kind, tables: StemTables) -> Iterator[dict[str, Any]]:
    """Rows of SOURCES. What the listing itself refuses is a reject at once."""
    if kind in ("mix", "separate"):
        for item in Corpus(uri):
            if isinstance(item, Refusal):
                about = {"version": item.version, "error_type": item.error_type, "error": item.error}
                tables.index["rejects"][item.track_id] = about
                continue
            yield _source(item.track_id, f"{item.version}", kind, {"mix": item.uri})
        return
    where = Location(uri)
    if not where.is_folder():
        raise StorageError(f"no folder {where}")
    if kind == "midi":
        yield from _midi_files(where)
        return
    folders: dict[str, dict[str, Entry]] = {}
    for entry in where.list():
        stem, extension = posixpath.splitext(posixpath.basename(entry.name))
        if entry.kind == "file" and extension.lower() in AUDIO_SUFFIXES and not stem.startswith("."):
            name = re.sub(r"[^a-z0-9]+", "_", stem.lower()).strip("_") or "stem"
            folders.setdefault(posixpath.dirname(entry.name) or where.name, {})[name] = entry
    for track_id, files in sorted(folders.items()):
        kept = {name: entry for name, entry in files.items() if name not in MIXES} or files
        version = "+".join(f"{entry.version}" for _, entry in sorted(kept.items()))
        yield _source(track_id, version, kind, {n: where.join(e.name).uri for n, e in sorted(kept.items())})


def _midi_files(where: Location) -> Iterator[dict[str, Any]]:
    for entry in where.list():
        if entry.kind == "file" and entry.name.lower().endswith((".mid", ".midi")):
            for rendering in range(RENDERINGS):
                track_id = f"{entry.name}#{rendering}" if rendering else entry.name
                source = _source(track_id, f"{entry.version}", "midi", {"midi": where.join(entry.name).uri})
                yield source | {"seed": track_id if rendering else ""}


def _source(track_id: str, version: str, kind: Kind, files: dict[str, str]) -> dict[str, Any]:
    names, uris = (list(part) for part in zip(*files.items(), strict=True))
    return {"track_id": track_id, "version": version, "kind": kind, "uris": uris, "names": names, "seed": ""}
