"""Decides from the audio which side of a match samples the other.

The track that samples contains the sample plus other sounds. With pitch and tempo undone, the log ratio of the two
spectrograms has a floor, where the sample is alone, and a long upper tail, where something was added. So its skewness
is positive if the query samples the reference, and negative if the reference samples the query.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from asid_core.config import SAMPLE_RATE_HZ, LogFrequencyConfig, VerifyConfig
from asid_core.matching.relations import covered_s
from asid_core.matching.span import Span
from asid_core.matching.verify import Verified
from asid_core.signal.probing import excerpt, shifted

LOUD_SHARE = 0.5  # share of cells used, by the sum of both levels; softer ones are noise and codec artefacts
MIN_FRAMES = 25  # one second; quantiles of less are unreliable
MAX_FRAMES = 750  # 30 seconds are enough
# Logistic model, fitted to pairs of music for training, each used in both directions, and then scaled to be right as
# often as it says for the pairs that a search finds in the wild training benchmark.
INTERCEPT, SKEWNESS, LOOPS = -0.72, 15.4, 0.84
MAX_LOOPS = 1.1  # log ratio, a factor of 3; more is no stronger evidence
PLACES = 4  # number of places per pair whose levels are compared

Levels = Callable[[float, float], tuple[Tensor, float]]


def of_pair(query: Tensor, levels: Levels, verified: Sequence[Verified], config: VerifyConfig) -> float | None:
    """Probability that the query samples a reference, from the places of that pair; None if none is a match.

    query: log magnitudes [F, T] of the whole query. levels: function of (start_s, end_s) that returns the log
    magnitudes of at least that part of the reference, and the time of their first frame in seconds.
    """
    heard = sorted((one for one in verified if one.is_match), key=lambda one: -one.verify_score)
    measured = []
    for one in heard[:PLACES]:
        reference, first_s = levels(one.span.reference_start_s, one.span.reference_end_s)
        measured.append(skewness(query, reference, first_s, one.span, one.pitch_semitones, config.features))
    return probability([one.span for one in heard], measured) if heard else None


def probability(spans: Sequence[Span], skewnesses: Sequence[float]) -> float:
    """Probability that the query is the sampler, from the places of one pair.

    skewnesses: of the first spans, those that were measured. A sampler often loops the same bars, so the spans also
    cover more of the sampler than of its source.
    """
    lengths_s = [span.query_end_s - span.query_start_s for span in spans]
    measured = list(zip(skewnesses, lengths_s, strict=False))
    mean = sum(skew * length_s for skew, length_s in measured) / sum(length_s for _, length_s in measured)
    ratio = math.exp(sum(math.log(span.tempo_ratio) for span in spans) / len(spans))
    query_s = ratio * covered_s((span.query_start_s, span.query_end_s) for span in spans)
    reference_s = covered_s((span.reference_start_s, span.reference_end_s) for span in spans)
    loops = max(-MAX_LOOPS, min(MAX_LOOPS, math.log(query_s / reference_s)))
    return 1 / (1 + math.exp(-(INTERCEPT + SKEWNESS * mean + LOOPS * loops)))


def skewness(
    query: Tensor, reference: Tensor, first_s: float, span: Span, semitones: float, config: LogFrequencyConfig
) -> float:
    """Quantile skewness, -1..1, of the log ratio query / reference over a span; 0 if the span is too short.

    query, reference: log magnitudes [F, T] of the whole query and of a part of the reference, whose first frame is at
    `first_s`. The skewness is (q95 + q05 - 2 q50) / (q95 - q05) of the ratio minus the median of each bin, over the
    louder half of the cells.
    """
    frame_s = config.hop_samples / SAMPLE_RATE_HZ
    start = max(0, math.ceil((span.reference_start_s - first_s) / frame_s))
    stop = min(reference.shape[1], int((span.reference_end_s - first_s) / frame_s), start + MAX_FRAMES)
    if stop - start < MIN_FRAMES:
        return 0.0
    frames = stop - start
    centre_s = span.query_at(first_s + (start + frames / 2) * frame_s)
    undone = excerpt(query, centre_s / frame_s, span.tempo_ratio, frames, 1)
    heard = shifted(undone, semitones, config)[0]
    other = reference[:, start:stop]
    both = (heard > 0) & (other > 0)
    ratio = torch.where(both, heard - other, torch.nan)
    ratio = ratio - ratio.nanmedian(1, keepdim=True).values
    loudness = (heard + other)[both]
    if len(loudness) < MIN_FRAMES:
        return 0.0
    loud = ratio[both][loudness >= loudness.quantile(1 - LOUD_SHARE)]
    low, middle, high = (float(q) for q in loud.quantile(loud.new_tensor([0.05, 0.5, 0.95])))
    return (high + low - 2 * middle) / (high - low) if high > low else 0.0
