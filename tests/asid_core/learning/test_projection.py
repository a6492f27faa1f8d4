from __future__ import annotations

import pytest
import torch
from torch import Tensor

from asid_core.learning.pairs import Pairs
from asid_core.learning.projection import fit_discriminant, fit_projection
from asid_core.learning.tasks import retrieval
from asid_core.model.linear import DiscriminantEncoder, LinearEncoder

BINS, FRAMES = 8, 10


def pairs(seed: int, count: int = 400) -> Pairs:
    """References, and queries under loud music that sounds in some of the bins only."""
    generator = torch.Generator().manual_seed(seed)
    references = torch.rand(count, BINS, FRAMES, generator=generator).pow(4)
    background = torch.rand(count, BINS, FRAMES, generator=generator).pow(4) * 8
    background[:, : BINS // 2] = 0
    references, queries = (unit(x) for x in (references, references + background))
    return Pairs(references, queries, torch.eye(count).bool() & False)


def unit(patches: Tensor) -> Tensor:
    return patches / patches.norm(dim=(1, 2), keepdim=True)


def test_the_discriminant_looks_where_the_bed_is_not() -> None:
    train, held_out = [pairs(seed) for seed in range(5)], pairs(9)
    discriminant, principal = DiscriminantEncoder(16, BINS, FRAMES), LinearEncoder(16, BINS, FRAMES)
    discriminant.components.copy_(fit_discriminant(train, 16))
    principal.components.copy_(fit_projection([p.references for p in train], 16))
    found = [
        float(retrieval(encoder(held_out.queries)[0], encoder(held_out.references)[0], held_out.ambiguous)["mrr"])
        for encoder in (discriminant, principal)
    ]
    assert found[0] > 0.5 and found[0] > 2 * found[1]


def test_silence_stays_zero_and_is_not_fitted_to() -> None:
    with_silence = pairs(0)
    with_silence.queries[:50] = 0
    components = fit_discriminant([with_silence], 16)
    assert components.shape == (16, BINS * FRAMES) and components.isfinite().all()
    encoder = DiscriminantEncoder(16, BINS, FRAMES)
    encoder.components.copy_(components)
    assert torch.equal(encoder(torch.zeros(2, BINS, FRAMES))[0], torch.zeros(2, 16))


def test_more_directions_than_values_are_refused() -> None:
    with pytest.raises(ValueError, match="reduce encoder.dim"):
        fit_discriminant([pairs(0)], 81)
