"""Recordings -> training tables, from folders of stems, from mixes (whole or separated), or from rendered MIDI."""

from __future__ import annotations

import logging
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from asid_core.config import Config
from asid_core.learning.midi import FAMILIES
from asid_core.learning.separation import pretrained_separator
from asid_core.signal.formats import AUDIO_SUFFIXES
from pipelines.driver import Stage, drive, map_blocks
from pipelines.ingest.corpus import Corpus, Refusal
from pipelines.runtime import ProgressCallback
from pipelines.store.catalogue import new_run_id
from pipelines.store.listing import Entry
from pipelines.store.location import Location, StorageError
from pipelines.train.render_midi import sound_font
from pipelines.train.stem_files import StemTables
from pipelines.train.stem_task import SOURCES, stem_batch

__all__ = ["StemSummary", "StemTables", "stems"]

log = logging.getLogger(__name__)

Kind = Literal["stems", "mix", "separate", "hpss", "midi"]
SEPARATED = ("drums", "bass", "other", "vocals")
NAMES = {"midi": FAMILIES, "separate": SEPARATED, "hpss": ("drums", "melody")}
MIXES = ("mix", "mixture")  # file names of a mix beside its stems, as in MUSDB
TRACKS_PER_TASK = 4
RENDERINGS = 2  # of each MIDI file: as written, and varied


@dataclass(frozen=True)
class StemSummary:
    """Counts of one run of `stems`. Every track is in exactly one of the first three."""

    tracks: int = 0
    already: int = 0
    rejects: int = 0
    spans: int = 0
    audio_s: float = 0.0


def stems(
    source_uri: str, kind: Kind, output_uri: str, config: Config, progress: ProgressCallback | None = None
) -> StemSummary:
    """Bring the tables at `output_uri` up to date with the music at `source_uri`. Needs a running Ray.

    Commits every minute, so a killed run is simply started again. Raises StorageError if the source is missing or the
    tables hold other stems; RenderError or another OSError, before any work, if FluidSynth or the separator is missing.
    """
    if kind == "midi":
        sound_font()
    elif kind == "separate":
        pretrained_separator()
    tables = StemTables(output_uri, create=True)
    sources = list(_sources(source_uri, kind, tables))
    names = sorted(NAMES.get(kind) or {n for source in sources for n in source["names"]})
    if tables.index["names"] and names and not set(names) <= set(tables.index["names"]):
        raise StorageError(
            f"{tables.location} has stems {tables.index['names']}, but these are {names}. Use another --output."
        )
    tables.index["names"] = tables.index["names"] or names
    run = _Run(sources, tables, config)
    drive(run, progress)
    return run.summary()


class _Run(Stage[dict[str, Any], dict[str, Any]]):
    """State of one run in the driver. Commits are rare, because each writes the index of all tracks."""

    name = "stems"

    def __init__(self, sources: list[dict[str, Any]], tables: StemTables, config: Config) -> None:
        self.commit_items = config.segment.commit_tracks
        self._sources, self._tables, self._config = sources, tables, config
        rejects = tables.index["rejects"]
        self._todo = [s for s in sources if not _is_in(tables.tracks, s) and not _is_in(rejects, s)]
        rejected = sum(_is_in(rejects, s) and not _is_in(tables.tracks, s) for s in sources)
        already = len(sources) - len(self._todo) - rejected
        self._counts = {"tracks": 0, "already": already, "rejects": rejected, "spans": 0}
        self._audio_s = 0.0
        self._waiting = 0

    def todo(self) -> list[dict[str, Any]]:
        return self._todo

    def submit(self, items: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Rows of OUTCOMES, in the order in which tasks end."""
        # neighbours in a listing are often of one artist; training mixes better if a part holds many artists
        count = -(-len(items) // TRACKS_PER_TASK)
        blocks = [pa.Table.from_pylist(items[i::count], schema=SOURCES) for i in range(count)]
        options = {"output_uri": self._tables.location.uri, "names": self._tables.index["names"]}
        options |= {"run_id": new_run_id("stems"), "config": self._config.segment}
        return map_blocks(stem_batch, blocks, fn_kwargs=options)

    def take(self, outcome: dict[str, Any]) -> None:
        track_id, version = outcome["track_id"], outcome["version"]
        self._waiting += 1
        self._tables.tracks.pop(track_id, None)
        self._tables.index["rejects"].pop(track_id, None)
        if outcome["error"]:
            reason = {key: outcome[key] for key in ("error_type", "error")}
            self._tables.index["rejects"][track_id] = {"version": version, **reason}
            log.info("rejected %s: %s", track_id, outcome["error"])
            self._counts["rejects"] += 1
            return
        spans = outcome["spans"]
        self._tables.tracks[track_id] = {"version": version, "spans": spans, "part": outcome["part"]}
        self._counts["tracks"] += 1
        self._counts["spans"] += spans
        self._audio_s += float(outcome["audio_s"])

    def waiting(self) -> int:
        return self._waiting

    def commit(self) -> None:
        self._tables.commit()
        self._waiting = 0

    def counts(self) -> dict[str, Any]:
        done = sum(self._counts[name] for name in ("tracks", "already", "rejects"))
        return {"done": done, "total": len(self._sources), "audio_s": self._audio_s}

    def summary(self) -> StemSummary:
        return StemSummary(**self._counts, audio_s=self._audio_s)


def _is_in(known: dict[str, dict[str, Any]], source: dict[str, Any]) -> bool:
    """Whether `known` has this track in this version."""
    version: bool = known.get(source["track_id"], {}).get("version") == source["version"]
    return version


def _sources(uri: str, kind: Kind, tables: StemTables) -> Iterator[dict[str, Any]]:
    """Rows of SOURCES. Files that the listing refuses are recorded as rejects."""
    if kind in ("mix", "separate", "hpss"):
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
