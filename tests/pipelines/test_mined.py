"""Windows mined from the candidates of a benchmark."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from asid_core.config import RerankerConfig
from asid_core.evaluation.truth import Occurrence, Query, Relation, Truth
from asid_core.matching.rerank import MAX_WINDOWS
from asid_core.model.fingerprinter import Fingerprinter
from asid_core.schema import DETECTIONS
from pipelines.mined import mined, train_on_candidates
from pipelines.store.catalogue import Catalogue
from tests.pipelines.catalogues import LINEAR, make_catalogue, melody

SAMPLED_S, LENGTH_S = 4.0, 12.0
TRUTH = Truth(
    (Query("q"),),
    ("right", "wrong"),
    (Relation("q", "right", (Occurrence(0.0, LENGTH_S, SAMPLED_S, SAMPLED_S + LENGTH_S),), 1.0, 0.0),),
)


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """A query that plays one of two references from SAMPLED_S on."""
    right = melody(20.0, 0)
    start = round(SAMPLED_S * 16_000)
    waves = {
        "queries/q.wav": right[start : start + round(LENGTH_S * 16_000)],
        "references/right.wav": right,
        "references/wrong.wav": melody(20.0, 1),
    }
    return make_catalogue(str(tmp_path_factory.mktemp("mined") / "c"), waves)


def detection(reference: str, reference_s: float, **other: Any) -> dict[str, Any]:
    filled: dict[str, Any] = {
        field.name: "" if field.type == pa.string() else 0 for field in DETECTIONS if not field.nullable
    }
    return filled | {
        "query_id": "queries/q.wav",
        "reference_id": f"references/{reference}.wav",
        "query_start_s": 0.0,
        "query_end_s": LENGTH_S,
        "reference_start_s": reference_s,
        "reference_end_s": reference_s + LENGTH_S,
        "tempo_ratio": 1.0,
        "pitch_semitones": 0.0,
        "reversed": False,
        **other,
    }


def windows(catalogue: Catalogue, *rows: dict[str, Any], truth: Truth = TRUTH) -> list[Any]:
    model = Fingerprinter(LINEAR).eval()
    return list(mined(catalogue, truth, pa.Table.from_pylist(list(rows), schema=DETECTIONS), model, LINEAR))


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch, catalogue: Catalogue) -> None:
    """The references, without a table of fingerprints."""
    from pipelines.search.exact import References

    tracks = pa.concat_tables(pa.Table.from_batches([batch]) for batch in catalogue.tracks())
    names = np.array(tracks.column("track_id").to_pylist())
    references = tracks.filter(pa.array(np.char.startswith(names, "references/")))
    found = References("none", 0, references, 1.6, 0.16)
    monkeypatch.setattr("pipelines.mined.find_references", lambda *_: (tracks, found))


def test_windows_on_the_true_line_are_right_and_look_alike(catalogue: Catalogue) -> None:
    (found,) = windows(catalogue, detection("right", SAMPLED_S))
    assert len(found) == MAX_WINDOWS and found.right.all() and found.weights.sum() == pytest.approx(1)
    alike = torch.nn.functional.cosine_similarity(found.queries.flatten(1).float(), found.references.flatten(1).float())
    assert alike.median() > 0.99 and alike.min() > 0.8  # the outer ones reach beyond the query


def test_unrelated_pairs_are_wrong_and_other_places_of_the_source_are_left_out(catalogue: Catalogue) -> None:
    (found,) = windows(catalogue, detection("wrong", 2.0), detection("right", 7.5))
    assert len(found) == MAX_WINDOWS and not found.right.any()


def test_a_wrong_candidate_counts_the_less_the_lower_it_ranks(catalogue: Catalogue) -> None:
    (found,) = windows(catalogue, detection("wrong", 2.0, score=0.4), detection("right", SAMPLED_S, score=0.9))
    assert found.weights[found.right].sum() == pytest.approx(1)
    assert found.weights[~found.right].sum() == pytest.approx(1 / 2)
    (alone,) = windows(catalogue, detection("wrong", 2.0, score=0.4))
    assert alone.weights.sum() == pytest.approx(1)


def test_what_a_truth_ignores_and_what_is_reversed_teaches_nothing(catalogue: Catalogue) -> None:
    ignoring = replace(TRUTH, queries=(Query("q", ignored=("wrong",)),))
    assert windows(catalogue, detection("wrong", 2.0), truth=ignoring) == []
    assert windows(catalogue, detection("wrong", 2.0, reversed=True)) == []


def test_a_benchmark_without_candidates_is_refused_with_what_to_do(
    catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = SimpleNamespace(detections=DETECTIONS.empty_table())
    monkeypatch.setattr("pipelines.mined.sweep_bench", lambda *_: (TRUTH, nothing))
    monkeypatch.setattr("pipelines.mined.load_model", lambda *_: Fingerprinter(LINEAR))
    reranking = replace(LINEAR, model=replace(LINEAR.model, reranker=RerankerConfig(kind="aligned", channels=4)))
    with pytest.raises(ValueError, match="use a larger benchmark"):
        train_on_candidates([(tmp_path, catalogue)], str(tmp_path / "out"), reranking, "any", None)
