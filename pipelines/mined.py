"""Candidates of a benchmark's own search -> an aligned reranker that fits the search it serves.

A killed training is started again: the sweep goes on from where it was, and the rest takes minutes and ends the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from asid_core.config import Config
from asid_core.evaluation.localisation import Row
from asid_core.evaluation.mining import right_times
from asid_core.evaluation.truth import Relation, Truth, track_name
from asid_core.learning.aligned import Windows, area_under_curve, fit
from asid_core.matching.matched_filter import MatchedFilter, Recording
from asid_core.matching.rerank import centres_s, laid_over
from asid_core.matching.span import Span
from asid_core.model.aligned_reranker import AlignedReranker
from asid_core.model.fingerprinter import Fingerprinter
from pipelines.evaluate import REFERENCES, sweep_bench
from pipelines.runtime import ProgressCallback
from pipelines.search.features import HeardReferences, SpanFeatures, features_of
from pipelines.search.sweep_plan import find_references
from pipelines.store.audio import segments_of_tracks
from pipelines.store.catalogue import Catalogue
from pipelines.store.fingerprints import load_model
from pipelines.store.location import Location
from pipelines.train.record import save_weights
from pipelines.train.worker import with_reranker

HELD_OUT = 5  # every fifth query only validates
SPAN_BYTES = 1024**3  # cache of the references' features: some 18 hours
COLUMNS = (
    "query_id", "reference_id", "score", "query_start_s", "query_end_s", "reference_start_s", "reference_end_s",
    "tempo_ratio", "pitch_semitones",
)  # fmt: skip


@dataclass(frozen=True)
class Mined:
    """The result of a training: numbers of windows, and how well those of held-out queries are told apart (AUC)."""

    right: int
    wrong: int
    auc: float


def train_on_candidates(
    benches: Sequence[tuple[Path, Catalogue]],
    output: str,
    config: Config,
    weights: str,
    progress: ProgressCallback | None,
) -> Mined:
    """Train the aligned reranker of `config` on the candidates that sweeps of benchmarks find. Needs a running Ray.

    benches: folders of benchmarks of music for training, with the catalogue of each. Writes the model to `output`/best;
    its encoder is that of `weights`. Raises what `sweep_bench` raises, and ValueError if too little was found.
    """
    torch.manual_seed(config.training.seed)
    model = with_reranker(load_model(weights, config), config)
    parts: list[Windows] = []
    for directory, catalogue in benches:
        truth, swept = sweep_bench(directory, catalogue, config, weights, progress)
        for done, part in enumerate(mined(catalogue, truth, swept.detections, model, config), start=1):
            parts.append(part)
            _tell(progress, "mine", done, len(truth.queries), "queries")
    if len(parts) < 2:  # one to train on and one to validate on
        raise ValueError("the searches found candidates for fewer than two queries; use a larger benchmark")
    held_out = _joined(parts[::HELD_OUT])
    trained = _joined([part for at, part in enumerate(parts) if at % HELD_OUT])
    steps = config.training.reranker_steps
    assert isinstance(model.reranker, AlignedReranker)  # as the config says
    fit(model.reranker, trained, config.training, lambda step: _tell(progress, "train reranker", step, steps, "steps"))
    save_weights(model, Location(output).join("best"))
    right = int(trained.right.sum())
    return Mined(right, len(trained) - right, area_under_curve(model.reranker, held_out))


def mined(
    catalogue: Catalogue, truth: Truth, detections: pa.Table, model: Fingerprinter, config: Config
) -> Iterator[Windows]:
    """The windows of all candidates of each query that has any.

    Of pairs that are related, only windows on a true line are kept: other places may sound like the sample as well.
    """
    tracks, known = find_references(catalogue, model, REFERENCES)
    numbers = {track_name(track_id): number for number, track_id in enumerate(known.tracks["track_id"].to_pylist())}
    spans = SpanFeatures(catalogue, known.tracks, model, config.verify.features, SPAN_BYTES)
    heard = HeardReferences(spans, known.tracks)
    found = _by_query(detections)
    files = {row["track_id"]: row["segment_files"] for row in tracks.select(["track_id", "segment_files"]).to_pylist()}
    ignored = {query.name: query.ignored for query in truth.queries}
    for track in features_of(
        segments_of_tracks(catalogue, ((name, files[name]) for name in sorted(found))), model, config.verify.features
    ):
        query = track_name(track.track_id)
        heard_query = MatchedFilter(Recording(track.audio, track.duration_s), heard, config.verify)
        relations = [relation for relation in truth.relations if relation.query == query]
        rows = [row for row in found[track.track_id] if track_name(row["reference_id"]) not in ignored[query]]
        ranked = _with_ranks(rows)
        parts = [part for row in ranked if len(part := _windows(row, relations, numbers, heard_query))]
        if parts:
            yield _joined(parts)


def _by_query(detections: pa.Table) -> dict[str, list[dict[str, Any]]]:
    """Rows by query_id, without samples that are played backwards."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in detections.select([*COLUMNS, "reversed"]).to_pylist():
        if not row["reversed"]:
            found.setdefault(row["query_id"], []).append(row)
    return found


def _with_ranks(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of a query, the best first, each with the `rank` of its reference, from 1."""
    ranks: dict[str, int] = {}
    best_first = sorted(rows, key=lambda row: -row["score"])
    return [row | {"rank": ranks.setdefault(row["reference_id"], len(ranks) + 1)} for row in best_first]


def _windows(
    row: dict[str, Any], relations: Sequence[Relation], numbers: dict[str, int], heard: MatchedFilter
) -> Windows:
    """The windows of a detection that are certainly right or certainly wrong."""
    reference = track_name(row["reference_id"])
    span = Span(row["query_start_s"], row["query_end_s"], row["reference_start_s"], row["tempo_ratio"])
    times_s = centres_s(span)
    queries, references = laid_over(span, times_s, row["pitch_semitones"], numbers[reference], heard)
    related = [relation for relation in relations if relation.reference == reference]
    sides = (row["query_start_s"], row["query_end_s"]), (row["reference_start_s"], row["reference_end_s"])
    line = Row(row["score"], *sides, row["tempo_ratio"], row["pitch_semitones"])
    right = torch.tensor(right_times(line, times_s, related))
    kept = right if related else ~right
    # a wrong candidate counts the more the better it ranks: the best are what a user would see
    weights = torch.where(right, 1.0, 1 / row["rank"])[kept] / max(1, int(kept.sum()))
    return Windows(queries[kept].half(), references[kept].half(), right[kept], weights)


def _joined(parts: Sequence[Windows]) -> Windows:
    return Windows(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(Windows)))


def _tell(progress: ProgressCallback | None, stage: str, done: int, total: int, unit: str) -> None:
    if progress:
        progress({"stage": stage, "done": done, "total": total, "unit": unit})
