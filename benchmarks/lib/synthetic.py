"""Coarse scores of synthetic distractors, for each query of a benchmark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from asid_core.config import SAMPLE_RATE_HZ, Config, load
from asid_core.evaluation.truth import Truth, track_name
from asid_core.matching.align import align
from asid_core.matching.coarse import ExactSearch
from benchmarks.lib.among_distractors import DISTRACTORS, WEIGHTS
from benchmarks.lib.distractors import Surrogates, Tail, fit_tails
from pipelines.search.exact import Blocks, References
from pipelines.search.features import features_of
from pipelines.search.identify import Identifier
from pipelines.search.sweep_plan import find_references
from pipelines.store import fingerprints
from pipelines.store.audio import segments_of_tracks
from pipelines.store.catalogue import Catalogue

DRAWN, BLOCK, KEEP = 128, 64, 400  # synthetic tracks for all queries; tracks at a time; hits per window
ROWS_PER_TRACK = 1500  # of a synthetic track, if only the number of rows matters
TRIED, TRIED_QUERIES = 2048, 4  # synthetic tracks for testing the tail, and the number of queries for this


@dataclass(frozen=True)
class Query:
    """The probed vectors [P, n, dim] of a query, and the centres of its windows in seconds [n]."""

    name: str
    vectors: Tensor
    centres_s: np.ndarray


def searched(
    catalogue: Catalogue, weights: str, config: Config, truth: Truth
) -> tuple[list[Query], list[Tail], dict[str, np.ndarray]]:
    """The queries; the tail of scores of DRAWN synthetic distractors for each; and scores of TRIED for some."""
    model = fingerprints.load_model(weights, config)
    tracks, references = find_references(catalogue, model, "references/*")
    distractors = distractor_vectors(catalogue, references, config)
    length = round(float(np.mean([len(track) for track in distractors])))
    wanted = {q.name for q in truth.queries}
    rows = [row for row in tracks.to_pylist() if track_name(row["track_id"]) in wanted]
    queries = list(prepared(catalogue, Identifier(catalogue, model, config, references), config, rows))
    surrogates = Surrogates(distractors, length)
    scores = coarse_scores(queries, surrogates, DRAWN, config, references, seed=0)
    some = queries[:: len(queries) // TRIED_QUERIES][:TRIED_QUERIES]
    many = coarse_scores(some, surrogates, TRIED, config, references, seed=1)
    return queries, fit_tails(scores, DRAWN), {q.name: s for q, s in zip(some, many, strict=True)}


def tracks_like(catalogue: Catalogue, weights: str, rows: int) -> Surrogates:
    """A source of synthetic tracks of `rows` rows that resemble the real distractors."""
    config = load(weights)
    _, references = find_references(catalogue, fingerprints.load_model(weights, config), "references/*")
    return Surrogates(distractor_vectors(catalogue, references, config), rows)


def vectors_like(catalogue: Catalogue, count: int) -> npt.NDArray[np.float32]:
    """Synthetic vectors [count, dim] that resemble those of the real distractors."""
    tracks = tracks_like(catalogue, WEIGHTS, ROWS_PER_TRACK)
    drawn = tracks.draw(-(-count // ROWS_PER_TRACK), torch.Generator().manual_seed(0))
    return np.ascontiguousarray(drawn[:count].numpy(), np.float32)


def distractor_vectors(catalogue: Catalogue, references: References, config: Config) -> list[Tensor]:
    """The fingerprints [n, dim] of every real distractor."""
    ids = references.tracks["track_id"].to_pylist()
    parts: dict[int, list[Tensor]] = {}
    for block in Blocks(catalogue, references, config.search.silence_db):
        for track in np.unique(block.tracks):
            if track >= 0 and ids[track].startswith(DISTRACTORS):
                parts.setdefault(int(track), []).append(block.vectors[torch.from_numpy(block.tracks == track)])
    return [torch.cat(some) for some in parts.values()]


def prepared(
    catalogue: Catalogue, identifier: Identifier, config: Config, rows: list[dict[str, Any]]
) -> Iterator[Query]:
    """The tracks of `rows` (schema.TRACKS) as queries, except silent ones."""
    segments = segments_of_tracks(catalogue, ((row["track_id"], row["segment_files"]) for row in rows))
    hop_s = identifier.model.hop_samples / SAMPLE_RATE_HZ
    for features in features_of(segments, identifier.model, config.verify.features):
        centres = identifier.centres(features)
        if len(centres):
            name = track_name(features.track_id)
            yield Query(name, identifier.vectors(features, centres), centres.numpy() * hop_s)


def coarse_scores(
    queries: Sequence[Query], surrogates: Surrogates, count: int, config: Config, references: References, seed: int
) -> list[np.ndarray]:
    """For each query, the coarse scores [m] of those of `count` synthetic distractors that the search finds."""
    settings = config.search
    searches = [ExactSearch(q.vectors, KEEP, config.first_pass) for q in queries]
    generator = torch.Generator().manual_seed(seed)
    for first in range(0, count, BLOCK):
        vectors = surrogates.draw(min(BLOCK, count - first), generator)
        for search in searches:
            search.add(vectors, first * surrogates.rows)
    row_track = np.repeat(np.arange(count, dtype=np.int32), surrogates.rows)
    row_centre_s = np.tile(np.arange(surrogates.rows) * references.hop_s + references.window_s / 2, count)
    probes = config.probes.grid
    every = replace(settings, verify_tracks=count, places_per_track=1)
    scores = []
    for query, search in zip(queries, searches, strict=True):
        hits = search.hits()
        lines = align(hits, query.centres_s, probes, row_track, row_centre_s, references.window_s, every)
        scores.append(np.array([line.coarse_score for line in lines]))
    return scores
