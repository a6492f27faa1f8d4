"""Direction from synthetic spectrograms, in which the sampler is the source plus something else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from asid_core.config import VerifyConfig
from asid_core.matching.align import Candidate
from asid_core.matching.direction import of_pair, probability, skewness
from asid_core.matching.span import Span
from asid_core.matching.verify import Verified

CONFIG = VerifyConfig().features
FRAMES = 300


def levels(seed: int) -> Tensor:
    """Log magnitudes [bins, FRAMES] of music that is sparse in time and frequency."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(CONFIG.bins, FRAMES, generator=generator)
    return 4 + 2 * torch.nn.functional.avg_pool2d(drawn[None], 5, 1, 2)[0] * 5


def mixed(sample: Tensor, other: Tensor) -> Tensor:
    return torch.logaddexp(sample, other)


def both(sampler: Tensor, source: Tensor) -> tuple[float, float]:
    span = Span(0.0, FRAMES * 0.04, 0.0, 1.0)
    return tuple(skewness(*pair, 0.0, span, 0.0, CONFIG) for pair in ((sampler, source), (source, sampler)))  # type: ignore[return-value]


@pytest.mark.parametrize("louder", [-1.0, 0.0, 1.0])
@pytest.mark.parametrize("seed", [1, 2])
def test_the_mix_is_the_sampler(louder: float, seed: int) -> None:
    source = levels(seed)
    equalised = source + torch.linspace(-1, 1, CONFIG.bins)[:, None]
    forward, back = both(mixed(equalised, levels(seed + 10) + louder), source)
    assert forward > 0.1 and back == pytest.approx(-forward, abs=0.02)


def test_the_same_recording_has_no_direction() -> None:
    source = levels(3)
    forward, back = both(source + 0.1 * torch.randn(source.shape, generator=torch.Generator().manual_seed(1)), source)
    assert max(abs(forward), abs(back)) < 0.1


def test_too_little_says_nothing() -> None:
    source = levels(4)
    assert skewness(source, source, 0.0, Span(1.0, 1.5, 1.0, 1.0), 0.0, CONFIG) == 0.0
    assert skewness(0 * source, source, 0.0, Span(1.0, 9.0, 1.0, 1.0), 0.0, CONFIG) == 0.0


def test_skewness_and_loops_speak_for_the_sampler() -> None:
    once, again = Span(5.0, 10.0, 60.0, 1.0), Span(10.0, 15.0, 60.0, 1.0)
    assert probability([once], [0.3]) > 0.8 > 0.2 > probability([once], [-0.3])
    assert 0.3 < probability([once], [0.0]) < 0.7  # undecided
    assert probability([once, again], [0.1, 0.1]) > probability([once], [0.1])


def test_only_matches_tell_the_direction_of_a_pair() -> None:
    """What is no match has a span that is only a guess."""
    source, other, first = levels(5), levels(6), Span(0.0, FRAMES * 0.04, 0.0, 1.0)
    candidate = Candidate(0, 0.0, 1.0, 6.0, 6.0, first, 5.0, 9.0, 0.5, np.zeros((1, 2), np.int64))
    right, wrong = Verified(candidate, 0.6, 0.1, 0.0, first, True), Verified(candidate, 0.9, 0.1, 0.0, first, False)
    query = mixed(source, levels(15))

    def heard(start_s: float, end_s: float) -> tuple[Tensor, float]:
        return source, 0.0

    alone = of_pair(query, heard, [right], VerifyConfig())
    assert alone is not None and alone > 0.5
    elsewhere = replace(wrong, span=Span(2.0, 4.0, 7.0, 1.0))
    assert of_pair(query, heard, [elsewhere, right], VerifyConfig()) == alone
    assert of_pair(query, heard, [wrong], VerifyConfig()) is None
    assert of_pair(mixed(source, other), heard, [], VerifyConfig()) is None
