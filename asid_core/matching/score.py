"""The score of a candidate: its probability, and whether it is a sample or a duplicate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from asid_core.config import ScoreConfig
from asid_core.matching.detection import Detection
from asid_core.matching.relations import covered_s
from asid_core.matching.span import Span
from asid_core.matching.verify import Verified

DUPLICATE_SHARE = 0.8  # share of the longer track; copies of one master may differ in the silence at the ends
DUPLICATE_TEMPO, DUPLICATE_SEMITONES = 0.01, 0.25
LINE_S = 1.0  # pieces of a copy are on one line to within this, and as much of their distance as a tempo may be off


@dataclass(frozen=True)
class Track:
    """A recording: its name in tables and its length in seconds."""

    name: str
    duration_s: float


def scored(
    places: Sequence[Verified],
    query: Track,
    reference: Track,
    tries: int,
    direction: float | None,
    model_id: str,
    config: ScoreConfig,
) -> list[Detection]:
    """The detections that the places of one pair become. `tries`: as in `probability`; `direction`: of the pair."""
    of_pair = kind(places, query.duration_s, reference.duration_s)
    return [
        Detection(
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
            kind=of_pair,
            model_id=model_id,
            direction=direction,
            coherence=found.coherence,
        )
        for found in places
    ]


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


def kind(places: Sequence[Verified], query_s: float, reference_s: float) -> Literal["sample", "duplicate"]:
    """`duplicate` if places on one line, with pitch and tempo unchanged, cover nearly the whole of both tracks.

    A copy may match in several pieces, where silence or a fade lies between them. query_s, reference_s: durations of
    the tracks in seconds.
    """
    spans = [one.span for one in places if one.is_match and _is_untouched(one)]
    least_s = DUPLICATE_SHARE * max(query_s, reference_s)
    return "duplicate" if any(_covered_s(spans, along=one) >= least_s for one in spans) else "sample"


def _is_untouched(found: Verified) -> bool:
    return abs(found.tempo_ratio - 1) <= DUPLICATE_TEMPO and abs(found.pitch_semitones) <= DUPLICATE_SEMITONES


def _covered_s(spans: Sequence[Span], along: Span) -> float:
    """Seconds of each track, at least, that the spans on the line of one of them cover."""
    some = [one for one in spans if _is_on_line(one, along)]
    return min(
        covered_s((one.query_start_s, one.query_end_s) for one in some),
        covered_s((one.reference_start_s, one.reference_end_s) for one in some),
    )


def _is_on_line(span: Span, line: Span) -> bool:
    apart_s = abs(span.reference_start_s - line.reference_at(span.query_start_s))
    return apart_s <= LINE_S + DUPLICATE_TEMPO * abs(span.query_start_s - line.query_start_s)
