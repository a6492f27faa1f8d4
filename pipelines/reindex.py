"""Brings a catalogue up to date with a changed corpus: tracks, fingerprints, index, and a sweep of new tracks."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from asid_core.config import Config
from asid_core.plain_values import to_dict
from pipelines.driver import WAVE
from pipelines.ingest.corpus import Corpus, Refusal
from pipelines.ingest.segment import SegmentSummary, segment
from pipelines.run import embed_and_sweep
from pipelines.runtime import ProgressCallback
from pipelines.search.sweep import SweepSummary
from pipelines.store import maintenance, run_log
from pipelines.store.catalogue import Catalogue, CatalogueError, new_run_id
from pipelines.store.pairs import without

log = logging.getLogger(__name__)

STAGE = "reindex"
GRACE_S = 24 * 3600.0  # old table versions and orphaned files are kept this long, because others may still use them
MAX_REMOVED = 0.5  # share of the tracks


@dataclass(frozen=True)
class ReindexSummary:
    """Counts of one run of `reindex`. `swept` is None if no track is left."""

    segmented: SegmentSummary
    swept: SweepSummary | None
    new: int = 0
    changed: int = 0
    removed: int = 0
    renamed: int = 0
    embedded: int = 0
    collected_parts: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        counts = {name: getattr(self, name) for name in ("new", "changed", "removed", "renamed")}
        some = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
        return f"{some or 'nothing new'}; {self.swept or 'no tracks left'}"


def reindex(
    corpus_uri: str,
    catalogue: Catalogue,
    config: Config,
    weights: str,
    max_removed: float = MAX_REMOVED,
    grace_s: float = GRACE_S,
    progress: ProgressCallback | None = None,
    gpus: int | None = None,
) -> ReindexSummary:
    """Bring a catalogue up to date with a corpus. Unchanged files are not read again.

    Needs a running Ray. A killed run is simply started again. A renamed file (same bytes) is read again, because its
    segments carry its name, but keeps its fingerprints and detections. Weights that differ from the last run's fill a
    new fingerprint table, which the sweep at the end of this run is the first to use.
    Raises LeaseError if another run holds the catalogue, CatalogueError if more than the share `max_removed` of the
    tracks is gone, CorpusError if the corpus cannot be listed.
    """
    started = time.monotonic()
    with catalogue.writing(STAGE):
        before = catalogue.live()
        corpus = Corpus(corpus_uri, config.segment.follow_links)
        removed, withdrawn = _gone(corpus, [before["track_id"], catalogue.rejects()["track_id"]])
        if len(removed) > max_removed * before.num_rows:
            raise CatalogueError(
                f"{len(removed):,} of {before.num_rows:,} tracks are no longer in {corpus_uri}. Is all of it "
                "mounted? If they are really gone, pass --max-removed 1 to remove them."
            )
        segmented = segment(corpus_uri, catalogue, config, progress)
        run_id = new_run_id(STAGE)
        catalogue.delete_tracks(removed)
        catalogue.withdraw_rejects(run_id, sorted(set(withdrawn) - set(removed)))
        renamed = maintenance.apply_renames(catalogue)
        after = catalogue.live()
        embedded, swept = 0, None
        if after.num_rows:
            done, swept = embed_and_sweep(catalogue, config, weights, progress, gpus, new_only=True)
            embedded = done.tracks
        maintenance.clean_versions(catalogue, grace_s)
        parts, _ = maintenance.delete_orphans(catalogue, grace_s)
        maintenance.delete_old_sweeps(catalogue, grace_s)
        run_log.delete_old(catalogue.location)
        summary = ReindexSummary(
            segmented,
            swept,
            **_changes(before, after, renamed),
            embedded=embedded,
            collected_parts=parts,
            seconds=time.monotonic() - started,
        )
        _record(catalogue, run_id, config, summary)
    log.info("reindex: %s", summary)
    return summary


def _changes(before: pa.Table, after: pa.Table, renamed: dict[str, str]) -> dict[str, int]:
    """Number of tracks that are new, changed, removed and renamed. renamed: new track_id -> old track_id."""
    new, removed = (
        set(some["track_id"].filter(pc.invert(_are_in(some["track_id"], others["track_id"]))).to_pylist())
        for some, others in ((after, before), (before, after))
    )
    moved = {old for track_id, old in renamed.items() if old in removed and track_id in new}
    changed = without(after, before).num_rows - len(new)
    return {"new": len(new) - len(moved), "changed": changed, "removed": len(removed - moved), "renamed": len(moved)}


def _gone(corpus: Corpus, known: Sequence[pa.ChunkedArray]) -> list[list[str]]:
    """Those of each list of ids that the corpus no longer has. Files in an unreadable folder do not count as gone."""
    there = [np.zeros(len(ids), bool) for ids in known]
    items = iter(corpus)
    while some := list(itertools.islice(items, WAVE)):
        listed = pa.array([item.track_id for item in some], pa.string())
        unreadable = [item.track_id for item in some if isinstance(item, Refusal) and item.error_type == "unreadable"]
        for ids, found in zip(known, there, strict=True):
            found |= _are_in(ids, listed).to_numpy()
            for folder in unreadable:
                found |= pc.starts_with(ids, "" if folder == "." else folder + "/").to_numpy()
    return [sorted(ids.filter(pa.array(~found)).to_pylist()) for ids, found in zip(known, there, strict=True)]


def _are_in(ids: pa.ChunkedArray, others: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray:
    return pc.is_in(ids, value_set=others.combine_chunks() if isinstance(others, pa.ChunkedArray) else others)


def _record(catalogue: Catalogue, run_id: str, config: Config, summary: ReindexSummary) -> None:
    counts = {name: value for name, value in vars(summary).items() if name not in ("segmented", "swept")} | {
        "segmented": dataclasses.asdict(summary.segmented)
    }
    if summary.swept is not None:
        counts["sweep_id"] = summary.swept.sweep_id
    changes = summary.new + summary.changed + summary.removed + summary.renamed + summary.embedded
    if changes or summary.collected_parts:
        catalogue.record_run(run_id, {"verb": STAGE, "outcome": "done", "config": to_dict(config), "counts": counts})
