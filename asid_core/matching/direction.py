"""Which side of a match samples the other, by the audio alone.

In the track that samples, everything is the sample plus something. With pitch and tempo undone, the log ratio of the
two spectrograms then has a floor, where the sample stands alone, and a long upper tail, where something was added. Its
skewness is positive where the query is the sampler and negative where the reference is.
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
from asid_core.signal.probing import shifted, stretched

LOUD_SHARE = 0.5  # of the cells, by the sum of both levels: the rest is noise and what codecs leave
MIN_FRAMES = 25  # a second: below it the quantiles say nothing
MAX_FRAMES = 750  # half a minute is enough
# of a logistic model, fitted to the pairs of a wild benchmark of the training packages, each taken in both directions
INTERCEPT, SKEWNESS, LOOPS = -0.36, 7.7, 0.42
MAX_LOOPS = 1.1  # three times; more say no more
PLACES = 4  # of a pair, whose levels are compared

Levels = Callable[[float, float], tuple[Tensor, float]]


def of_pair(query: Tensor, levels: Levels, verified: Sequence[Verified], config: VerifyConfig) -> float | None:
    """Probability that the query samples a reference, by the places of that pair; None where too little is heard.

    query: log magnitudes [F, T] of the whole query. `levels(start_s, end_s)`: those of at least that part of the
    reference, and the time of their first frame.
    """
    heard = sorted((one for one in verified if one.verify_score >= config.min_score), key=lambda one: -one.verify_score)
    measured = []
    for one in heard[:PLACES]:
        reference, first_s = levels(one.span.reference_start_s, one.span.reference_end_s)
        measured.append(skewness(query, reference, first_s, one.span, one.pitch_semitones, config.features))
    return probability([one.span for one in heard], measured) if heard else None


def probability(spans: Sequence[Span], skewnesses: Sequence[float]) -> float:
    """Probability that the query is the sampler, by the places of one pair.

    `skewnesses`: of as many spans as were measured, the first ones. A sampler also repeats the same bars, so the spans
    cover more of it than of its source.
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
    """Quantile skewness, -1..1, of the log ratio query / reference over a span; 0 where there is too little to tell.

    query, reference: log magnitudes [F, T] of the whole query and of a part of the reference, whose first frame lies at
    `first_s`. (q95 + q05 - 2 q50) / (q95 - q05) of the ratio minus each bin's median, over the louder half of cells.
    """
    frame_s = config.hop_samples / SAMPLE_RATE_HZ
    start = max(0, math.ceil((span.reference_start_s - first_s) / frame_s))
    stop = min(reference.shape[1], int((span.reference_end_s - first_s) / frame_s), start + MAX_FRAMES)
    if stop - start < MIN_FRAMES:
        return 0.0
    frames = stop - start
    centre_s = span.query_at(first_s + (start + frames / 2) * frame_s)
    undone = stretched(query, torch.tensor([centre_s / frame_s]), span.tempo_ratio, frames, 1)
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
