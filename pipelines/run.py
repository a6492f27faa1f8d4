"""The main job: corpus -> segments -> fingerprints -> index -> detections. Each stage does only what is left to do."""

from __future__ import annotations

from dataclasses import dataclass

from asid_core.config import Config
from pipelines.fingerprint.embed import EmbedSummary, embed
from pipelines.ingest.segment import SegmentSummary, segment
from pipelines.runtime import ProgressCallback
from pipelines.search.index import index
from pipelines.search.sweep import SweepSummary, sweep
from pipelines.store.catalogue import Catalogue

VERB = "run"


@dataclass(frozen=True)
class RunSummary:
    """The summary of each stage."""

    segmented: SegmentSummary
    embedded: EmbedSummary
    swept: SweepSummary


def run(
    corpus_uri: str,
    catalogue: Catalogue,
    config: Config,
    weights: str,
    queries: str | None = None,
    references: str | None = None,
    min_score: float | None = None,
    new_only: bool = False,
    progress: ProgressCallback | None = None,
) -> RunSummary:
    """Segment a corpus, then `embed_and_sweep`. Holds the catalogue's lease throughout.

    Needs a running Ray. A killed run is simply started again. Raises what the stages raise: CorpusError,
    CatalogueError, LeaseError, ConfigError, FileNotFoundError.
    """
    with catalogue.writing(VERB):
        segmented = segment(corpus_uri, catalogue, config, progress)
        embedded, swept = embed_and_sweep(
            catalogue, config, weights, queries, references, min_score, new_only, progress
        )
    return RunSummary(segmented, embedded, swept)


def embed_and_sweep(
    catalogue: Catalogue,
    config: Config,
    weights: str,
    queries: str | None = None,
    references: str | None = None,
    min_score: float | None = None,
    new_only: bool = False,
    progress: ProgressCallback | None = None,
) -> tuple[EmbedSummary, SweepSummary]:
    """Run the stages after `segment`: embed, index and sweep. Arguments from `queries` on are those of `sweep`."""
    with catalogue.writing(VERB):
        embedded = embed(catalogue, config, weights, progress)
        index(catalogue, config, progress)
        swept = sweep(catalogue, config, weights, queries, references, min_score, progress, new_only)
    return embedded, swept
