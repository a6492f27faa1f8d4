"""Brings a catalogue up to date with a changed corpus: tracks, fingerprints, index, and a sweep of new tracks."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass

from asid_core.config import Config
from asid_core.plain_values import to_dict
from pipelines.ingest.corpus import Corpus, Refusal
from pipelines.ingest.segment import SegmentSummary, segment
from pipelines.run import embed_and_sweep
from pipelines.runtime import ProgressCallback
from pipelines.search.sweep import SweepSummary
from pipelines.store import maintenance, run_log
from pipelines.store.catalogue import Catalogue, CatalogueError, new_run_id

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
        gone = _gone(
            Corpus(corpus_uri, config.segment.follow_links), before, catalogue.rejects()["track_id"].to_pylist()
        )
        removed = sorted(gone & before.keys())
        if len(removed) > max_removed * len(before):
            raise CatalogueError(
                f"{len(removed):,} of {len(before):,} tracks are no longer in {corpus_uri}. Is all of it "
                "mounted? If they are really gone, pass --max-removed 1 to remove them."
            )
        segmented = segment(corpus_uri, catalogue, config, progress)
        run_id = new_run_id(STAGE)
        catalogue.delete_tracks(removed)
        catalogue.withdraw_rejects(run_id, sorted(gone - before.keys()))
        renamed = maintenance.apply_renames(catalogue)
        after = catalogue.live()
        embedded, swept = 0, None
        if after:
            done, swept = embed_and_sweep(catalogue, config, weights, new_only=True, progress=progress)
            embedded = done.tracks
        maintenance.clean_versions(catalogue, grace_s)
        parts, _ = maintenance.delete_orphans(catalogue, grace_s)
        maintenance.delete_old_sweeps(catalogue, grace_s)
        run_log.delete_old(catalogue.location)
        moved = {old for new, old in renamed.items() if old not in after and new not in before}
        summary = ReindexSummary(
            segmented,
            swept,
            new=len(after.keys() - before.keys()) - len(moved),
            changed=sum(before.get(track_id, content_hash) != content_hash for track_id, content_hash in after.items()),
            removed=len(before.keys() - after.keys() - moved),
            renamed=len(moved),
            embedded=embedded,
            collected_parts=parts,
            seconds=time.monotonic() - started,
        )
        _record(catalogue, run_id, config, summary)
    log.info("reindex: %s", summary)
    return summary


def _gone(corpus: Corpus, live: dict[str, str], rejected: Iterable[str]) -> set[str]:
    """Ids of tracks and rejects that the corpus no longer has. Files in an unreadable folder do not count as gone."""
    gone = {*live, *rejected}
    for item in corpus:
        gone.discard(item.track_id)
        if isinstance(item, Refusal) and item.error_type == "unreadable":
            below = "" if item.track_id == "." else item.track_id + "/"
            gone = {track_id for track_id in gone if not track_id.startswith(below)}
    return gone


def _record(catalogue: Catalogue, run_id: str, config: Config, summary: ReindexSummary) -> None:
    counts = {name: value for name, value in vars(summary).items() if name not in ("segmented", "swept")} | {
        "segmented": dataclasses.asdict(summary.segmented)
    }
    if summary.swept is not None:
        counts["sweep_id"] = summary.swept.sweep_id
    changes = summary.new + summary.changed + summary.removed + summary.renamed + summary.embedded
    if changes or summary.collected_parts:
        catalogue.record_run(run_id, {"verb": STAGE, "outcome": "done", "config": to_dict(config), "counts": counts})
