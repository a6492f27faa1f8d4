"""The score of a candidate: its probability, and whether it is a sample or a duplicate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from asid_core.config import ScoreConfig
from asid_core.matching.detection import Detection
from asid_core.matching.verify import Verified

DUPLICATE_SHARE = 0.8  # share of both tracks; copies of one master may differ in the silence at the ends
DUPLICATE_TEMPO, DUPLICATE_SEMITONES = 0.01, 0.25


@dataclass(frozen=True)
class Track:
    """A recording: its name in tables and its length in seconds."""

    name: str
    duration_s: float


def scored(
    found: Verified,
    query: Track,
    reference: Track,
    tries: int,
    direction: float | None,
    model_id: str,
    config: ScoreConfig,
) -> Detection:
    """The detection that a verified candidate becomes. `tries`: as in `probability`; `direction`: of the pair."""
    return Detection(
        query_id=query.name,
        query_start_s=found.span.query_start_s,
        query_end_s=found.span.query_end_s,
        reference_id=reference.name,
        reference_start_s=found.span.reference_start_s,
        reference_end_s=found.span.reference_end_s,
        score=probability(found, tries, config),
        rerank_score=found.candidate.rerank_score,
        coarse_score=found.candidate.coarse_score,
        verify_score=found.verify_score,
        verify_margin=found.verify_margin,
        tempo_ratio=found.span.tempo_ratio,
        pitch_semitones=found.pitch_semitones,
        num_windows=found.candidate.num_windows,
        kind=kind(found, query.duration_s, reference.duration_s),
        model_id=model_id,
        direction=direction,
        coherence=found.coherence,
    )


def probability(found: Verified, tries: int, config: ScoreConfig) -> float:
    """Probability that a verified candidate is a true match: a logistic model of the evidence of the three stages.

    Less if the waveforms of an unchanged place have nothing in common (`ScoreConfig.of_coherence`).
    `tries`: rows searched times probes, twice if the query is also searched backwards. The candidate is the best of so
    many, so its prior log-odds fall with their logarithm (`ScoreConfig.of_tries`).
    """
    prior = config.intercept - config.of_tries(tries)
    evidence = config.of_coarse(found.candidate.coarse_score) + config.rerank * (found.candidate.rerank_score or 0.0)
    heard = config.verify * found.verify_score + config.margin * found.verify_margin
    return 1 / (1 + math.exp(-(prior + evidence + heard - config.of_coherence(found.coherence))))


def kind(found: Verified, query_s: float, reference_s: float) -> Literal["sample", "duplicate"]:
    """`duplicate` if nearly the whole of both tracks matches without a change of pitch or tempo, else `sample`.

    query_s, reference_s: durations of the tracks in seconds.
    """
    untouched = abs(found.tempo_ratio - 1) <= DUPLICATE_TEMPO and abs(found.pitch_semitones) <= DUPLICATE_SEMITONES
    share = min(
        (found.span.query_end_s - found.span.query_start_s) / max(query_s, 1e-9),
        (found.span.reference_end_s - found.span.reference_start_s) / max(reference_s, 1e-9),
    )
    return "duplicate" if untouched and share >= DUPLICATE_SHARE else "sample"
