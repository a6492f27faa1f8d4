import torch

from asid_core.learning.losses import hardest_negatives, nt_xent, two_references
from tests.asid_core.golden import golden


def test_agrees_with_the_authors() -> None:
    loss = nt_xent(golden()["ntxent.z_i"], golden()["ntxent.z_j"], temperature=0.05)
    assert abs(loss.item() - golden()["ntxent.loss_tau_0.05"].item()) < 1e-4


def test_workers_shares_average_to_the_whole_batch() -> None:
    z_i, z_j = golden()["ntxent.z_i"], golden()["ntxent.z_j"]
    whole = nt_xent(z_i, z_j)
    shares = []
    for rank in range(3):
        mine = slice(4 * rank, 4 * rank + 4)
        # what an all-gather gives: everybody's rows, whichever of the two was handed in
        everybody = {z_i[mine].sum().item(): z_i, z_j[mine].sum().item(): z_j}

        def gather(mine: torch.Tensor, everybody: dict[float, torch.Tensor] = everybody) -> torch.Tensor:
            return _nearest(everybody, mine.sum().item())

        shares.append(nt_xent(z_i[mine], z_j[mine], gather=gather, rank=rank))
    assert torch.allclose(torch.stack(shares).mean(), whole, atol=1e-5)


def _nearest(table: dict[float, torch.Tensor], key: float) -> torch.Tensor:
    return table[min(table, key=lambda other: abs(other - key))]


def test_gradient_pulls_pairs_together() -> None:
    torch.manual_seed(0)
    z_i, z_j = torch.randn(2, 8, 16).requires_grad_().unbind()
    before = nt_xent(z_i, z_j)
    g_i, g_j = torch.autograd.grad(before, (z_i, z_j))
    assert nt_xent(z_i - 0.1 * g_i, z_j - 0.1 * g_j) < before


def test_ambiguous_pairs_are_left_out() -> None:
    z_i, z_j = golden()["ntxent.z_i"], golden()["ntxent.z_j"]
    ambiguous = torch.zeros(len(z_i), len(z_i), dtype=torch.bool)
    assert torch.allclose(nt_xent(z_i, z_j, ambiguous=ambiguous), nt_xent(z_i, z_j))
    everything = ~torch.eye(len(z_i), dtype=torch.bool)
    assert nt_xent(z_i, z_j, ambiguous=everything).item() == 0


def test_a_mix_near_both_its_references_costs_nothing() -> None:
    references = torch.eye(6)
    queries = references + references.roll(1, 0)
    second = torch.ones(6, dtype=torch.bool)
    assert two_references(queries, references, second) < 1e-3
    assert two_references(references, references, ~second) < 1e-3
    # a second reference that cannot be heard is neither wanted nor pushed away
    assert two_references(references, references, second) > 0.5
    assert two_references(queries, references, ~second) < 1e-3


def test_hard_negatives_never_hold_the_true_partner() -> None:
    torch.manual_seed(0)
    references = torch.nn.functional.normalize(torch.randn(20, 8), dim=1)
    chosen = hardest_negatives(references, references, 3)
    assert not (chosen == torch.arange(20)[:, None]).any()
    similarities = (references @ references.T).fill_diagonal_(-2)
    assert (similarities.gather(1, chosen)[:, 0] == similarities.amax(1)).all()
    excluded = torch.zeros(20, 20, dtype=torch.bool)
    excluded[0, chosen[0]] = True
    assert not set(hardest_negatives(references, references, 3, excluded)[0].tolist()) & set(chosen[0].tolist())
