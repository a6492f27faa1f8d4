"""corpus -> segment tables, tracks and rejects: lists files, skips those that are done, decodes on Ray, commits."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import pyarrow as pa

from asid_core.config import Config
from asid_core.plain_text import shown
from asid_core.plain_values import to_dict
from asid_core.schema import TRACKS
from asid_core.signal.level import was_not_raised
from pipelines.driver import WAVE, Stage, drive, map_blocks
from pipelines.ingest.corpus import Corpus, Refusal
from pipelines.ingest.decoding import READER
from pipelines.ingest.segment_task import FILES, STAGE, reject_row, segment_batch
from pipelines.runtime import ProgressCallback
from pipelines.store.catalogue import Catalogue, new_run_id
from pipelines.store.segments import read_segments

__all__ = ["SegmentSummary", "read_segments", "segment"]

log = logging.getLogger(__name__)

LISTED = ("uri", "size_bytes", "version", "manifest")  # columns from the listing; a file is read again when one changes
FILE_COLUMNS = (*LISTED, "title", "artist", "year", "isrc", "album", "label", "cover")


@dataclass(frozen=True)
class SegmentSummary:
    """Counts of one run of `segment`. Every file with an audio extension is in exactly one of the first five."""

    run_id: str
    tracks: int = 0  # new or changed, committed now
    already: int = 0  # live and unchanged
    refreshed: int = 0  # same bytes, but another date, location or title
    rejects: int = 0  # rejected in this run
    rejected_before: int = 0  # rejected by an earlier run and unchanged since
    shortened: int = 0  # how many of `tracks` have missing or damaged parts; the rest of their audio is used
    missing_s: float = 0.0  # audio missing from these
    skipped: dict[str, int] = dataclasses.field(default_factory=dict)  # see Corpus.skipped
    empty_years: int = 0  # manifest rows with an invalid year
    audio_s: float = 0.0
    seconds: float = 0.0

    def __str__(self) -> str:
        known = f"{self.already + self.refreshed:,} known, {self.rejects + self.rejected_before:,} rejects"
        audio = f"{self.audio_s / 3600:.2f} h of audio in {self.seconds:.0f} s"
        return f"{self.tracks:,} tracks segmented, {known}, {audio}"

    @property
    def listed(self) -> int:
        return self.tracks + self.already + self.refreshed + self.rejects + self.rejected_before

    @property
    def reject_share(self) -> float:
        """Share of the listed files that are rejects, of this run or an earlier one."""
        return (self.rejects + self.rejected_before) / max(self.listed, 1)


def segment(
    corpus_uri: str,
    catalogue: Catalogue,
    config: Config,
    progress: ProgressCallback | None = None,
    reader: str = READER,
) -> SegmentSummary:
    """Bring `tracks`, `rejects` and the segment files up to date with the files in the corpus. Removes no tracks.

    Needs a running Ray (`pipelines.runtime.start_ray`). Commits every `segment.commit_tracks` tracks, so a killed run
    is simply started again. Holds a digest of every live track in memory, 300 bytes each. Raises CorpusError or
    CatalogueError; if Ray workers keep dying, commits what is done before it raises.
    """
    catalogue.geometry.check(config.segment)
    corpus = Corpus(corpus_uri, config.segment.follow_links)
    with catalogue.writing(STAGE):
        run = _Run(corpus, catalogue, config, reader)
        outcome = "failed"
        try:
            drive(run, progress)
            catalogue.index_tracks()
            outcome = "done"
        finally:
            summary = run.summary()
            if summary.tracks or summary.refreshed or summary.rejects:
                record = {"verb": STAGE, "corpus": corpus.location.uri, "outcome": outcome, "config": to_dict(config)}
                versions = {name: metadata.version(name) for name in ("ray", "pylance", "pyarrow", "av", "soundfile")}
                record |= {"versions": versions, "counts": dataclasses.asdict(summary)}
                catalogue.record_run(run.run_id, record)
    log.info("segment: %s", summary)
    return summary


def _stamp(file: dict[str, Any]) -> bytes:
    """Digest of the columns LISTED. Titles are left out, because they may come from the file's own tags."""
    return hashlib.blake2b(repr([file[key] for key in LISTED]).encode(), digest_size=8).digest()


class _Run(Stage[dict[str, Any], dict[str, Any]]):
    """State of one run in the driver: what the catalogue holds, what waits to be committed, and counts."""

    name = STAGE

    def __init__(self, corpus: Corpus, catalogue: Catalogue, config: Config, reader: str) -> None:
        self.run_id = new_run_id(STAGE)
        self.commit_items = config.segment.commit_tracks
        self._corpus, self._catalogue, self._config, self._reader = corpus, catalogue, config, reader
        self._started = time.monotonic()
        self._total: int | None = None  # known once the last wave has been listed
        self._counts = {"tracks": 0, "already": 0, "refreshed": 0, "rejects": 0, "rejected_before": 0}
        self._audio_s = self._missing_s = 0.0
        self._shortened = 0
        self._live: dict[str, tuple[str | None, bytes]] = {}
        not_raised = 0
        for batch in catalogue.tracks(columns=["track_id", "content_hash", "level_db", *LISTED]):
            for row in batch.to_pylist():
                known: tuple[str | None, bytes] = (row["content_hash"], _stamp(row))
                if was_not_raised(row["content_hash"], row["level_db"]):
                    not_raised += 1
                    known = (None, b"")  # read again
                self._live[row["track_id"]] = known
        if not_raised:
            log.warning("%d soft tracks are read again: an older asid did not amplify them", not_raised)
        self._standing = {row["track_id"]: row for row in catalogue.rejects().to_pylist()}
        self._tracks: list[dict[str, Any]] = []
        self._same: list[dict[str, Any]] = []
        self._rejects: list[dict[str, Any]] = []

    def todo(self) -> Iterator[dict[str, Any]]:
        """Files (rows of FILES) that are new or changed. Counts the others."""
        for item in self._corpus:
            file = dataclasses.asdict(item)
            if isinstance(item, Refusal):
                self._refuse(reject_row(file, item.error_type, item.error))
                continue
            before = self._standing.get(item.track_id)
            if before and before["version"] == item.version and before["size_bytes"] == item.size_bytes:
                self._counts["rejected_before"] += 1
                continue
            content_hash, stamp = self._live.get(item.track_id, (None, b""))
            if stamp == _stamp(file):
                self._counts["already"] += 1
                continue
            yield file | {"known_hash": content_hash}

    def submit(self, items: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Rows of OUTCOMES, in the order in which tasks end."""
        self._total = sum(self._counts.values()) + len(items) if len(items) < WAVE else None
        size = self._config.segment.files_per_task
        blocks = [pa.Table.from_pylist(items[i : i + size], schema=FILES) for i in range(0, len(items), size)]
        options = {"catalogue_uri": self._catalogue.location.uri, "run_id": self.run_id, "reader": self._reader}
        return map_blocks(segment_batch, blocks, fn_kwargs=options | {"config": self._config.segment})

    def take(self, outcome: dict[str, Any]) -> None:
        if outcome["track"]:
            self._tracks.append(outcome["track"])
            self._counts["tracks"] += 1
            self._audio_s += outcome["track"]["duration_s"]
            self._note_missing(outcome["track"]["track_id"], outcome["missing_s"] or 0.0)
        elif outcome["same"]:
            self._same.append(outcome["same"])
            self._counts["refreshed"] += 1
        else:
            self._refuse(outcome["reject"])

    def _note_missing(self, track_id: str, missing_s: float) -> None:
        if missing_s:
            self._shortened += 1
            self._missing_s += missing_s
            log.warning("%s: at least %.1f s are missing or damaged; the rest is used", shown(track_id), missing_s)

    def _refuse(self, row: dict[str, Any]) -> None:
        before = self._standing.get(row["track_id"])
        if before and before["error"] == row["error"] and before["version"] == row["version"]:
            self._counts["rejected_before"] += 1
            return
        self._counts["rejects"] += 1
        self._rejects.append(row)
        log.info("rejected %s: %s", shown(row["track_id"]), row["error"])

    def waiting(self) -> int:
        return len(self._tracks) + len(self._same) + len(self._rejects)

    def commit(self) -> None:
        """Make the outcomes so far visible. A rejected file's earlier track is deleted: an id is in one table only."""
        self._catalogue.write_rejects(self.run_id, self._rejects)
        self._catalogue.delete_tracks(r["track_id"] for r in self._rejects if r["track_id"] in self._live)
        known = self._catalogue.tracks_of([file["track_id"] for file in self._same]).to_pylist()
        files = {file["track_id"]: {key: file[key] for key in FILE_COLUMNS} for file in self._same}
        rows = self._tracks + [row | files[row["track_id"]] for row in known]
        if rows:
            self._catalogue.commit_tracks(pa.Table.from_pylist(rows, schema=TRACKS))
        accepted = [row["track_id"] for row in rows if row["track_id"] in self._standing]
        self._catalogue.withdraw_rejects(self.run_id, accepted)
        self._tracks, self._same, self._rejects = [], [], []

    def counts(self) -> dict[str, Any]:
        rejects = self._counts["rejects"] + self._counts["rejected_before"]
        done = sum(self._counts.values())
        return {"done": done, "total": self._total, "rejects": rejects, "audio_s": self._audio_s}

    def summary(self) -> SegmentSummary:
        seconds = time.monotonic() - self._started
        return SegmentSummary(
            self.run_id,
            **self._counts,
            shortened=self._shortened,
            missing_s=self._missing_s,
            skipped=dict(self._corpus.skipped),
            empty_years=self._corpus.empty_years,
            audio_s=self._audio_s,
            seconds=seconds,
        )
