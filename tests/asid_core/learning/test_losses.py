import torch

from asid_core.learning.losses import nt_xent
from tests.asid_core.golden import golden


def test_agrees_with_the_authors() -> None:
    loss = nt_xent(golden()["ntxent.z_i"], golden()["ntxent.z_j"], tau=0.05)
    assert abs(loss.item() - golden()["ntxent.loss_tau_0.05"].item()) < 1e-4


def test_workers_shares_average_to_the_whole_batch() -> None:
    z_i, z_j = golden()["ntxent.z_i"], golden()["ntxent.z_j"]
    whole = nt_xent(z_i, z_j)
    shares = []
    for rank in range(3):
        mine = slice(4 * rank, 4 * rank + 4)
        # what an all-gather gives: everybody's rows, whichever of the two was handed in
        everybody = {z_i[mine].sum().item(): z_i, z_j[mine].sum().item(): z_j}
        shares.append(
            nt_xent(z_i[mine], z_j[mine], gather=lambda z, e=everybody: _nearest(e, z.sum().item()), rank=rank)
        )
    assert torch.allclose(torch.stack(shares).mean(), whole, atol=1e-5)


def _nearest(table: dict[float, torch.Tensor], key: float) -> torch.Tensor:
    return table[min(table, key=lambda other: abs(other - key))]


def test_gradient_pulls_pairs_together() -> None:
    torch.manual_seed(0)
    z_i, z_j = torch.randn(2, 8, 16).requires_grad_().unbind()
    before = nt_xent(z_i, z_j)
    g_i, g_j = torch.autograd.grad(before, (z_i, z_j))
    assert nt_xent(z_i - 0.1 * g_i, z_j - 0.1 * g_j) < before
