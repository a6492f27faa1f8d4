"""The main job: corpus -> segments -> fingerprints -> index -> detections. Each stage does only what is left to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from asid_core.config import Config
from pipelines.fingerprint.embed import EmbedSummary, embed
from pipelines.ingest.segment import SegmentSummary, segment
from pipelines.runtime import ProgressCallback
from pipelines.search.index import index
from pipelines.search.sweep import SweepOptions, SweepSummary, sweep
from pipelines.store.catalogue import Catalogue

if TYPE_CHECKING:
    from typing_extensions import Unpack

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
    progress: ProgressCallback | None = None,
    gpus: int | None = None,
    **options: Unpack[SweepOptions],
) -> RunSummary:
    """Segment a corpus, then `embed_and_sweep`. Holds the catalogue's lease throughout. `gpus`: as for `embed`,
    `options`: as for `sweep`.

    Needs a running Ray. A killed run is simply started again. Raises what the stages raise: CorpusError,
    CatalogueError, LeaseError, ConfigError, FileNotFoundError.
    """
    with catalogue.writing(VERB):
        segmented = segment(corpus_uri, catalogue, config, progress)
        embedded, swept = embed_and_sweep(catalogue, config, weights, progress, gpus, **options)
    return RunSummary(segmented, embedded, swept)


def embed_and_sweep(
    catalogue: Catalogue,
    config: Config,
    weights: str,
    progress: ProgressCallback | None = None,
    gpus: int | None = None,
    **options: Unpack[SweepOptions],
) -> tuple[EmbedSummary, SweepSummary]:
    """Run the stages after `segment`: embed, index and sweep. `gpus`: as for `embed`, `options`: as for `sweep`."""
    with catalogue.writing(VERB):
        embedded = embed(catalogue, config, weights, progress, gpus)
        index(catalogue, config, progress)
        swept = sweep(catalogue, config, weights, progress=progress, **options)
    return embedded, swept
