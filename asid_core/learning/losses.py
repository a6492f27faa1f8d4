"""The contrastive losses of the encoder, and the selection of hard negatives for the reranker."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

# [B, dim] -> [workers * B, dim] in rank order, keeping gradients
Gather = Callable[[Tensor], Tensor]


def nt_xent(
    z_i: Tensor,
    z_j: Tensor,
    temperature: float = 0.05,
    gather: Gather | None = None,
    rank: int = 0,
    ambiguous: Tensor | None = None,
) -> Tensor:
    """Normalised-temperature cross-entropy over a batch of positive pairs (SimCLR; arXiv:2506.14684, section 3.3).

    z_i, z_j: [B, dim], normalised here. Row b of one is the positive of row b of the other; all other rows of both are
    negatives, except pairs of rows that `ambiguous` (bool [B, B], False on the diagonal) marks as sounding the same.
    Returns the mean over this process's 2B rows, a scalar in nats.

    For a batch spread over workers, `gather` collects the rows of all workers, and `rank` is the number of this one.
    Each worker's loss then compares its own rows with those of all workers.
    """
    z_i, z_j = F.normalize(z_i.float(), dim=1), F.normalize(z_j.float(), dim=1)
    all_i, all_j = (z_i, z_j) if gather is None else (gather(z_i), gather(z_j))
    batch, total = z_i.shape[0], all_i.shape[0]
    similarities = torch.cat([z_i, z_j]) @ torch.cat([all_i, all_j]).T / temperature
    own = rank * batch + torch.arange(batch, device=z_i.device)
    rows = torch.cat([own, own + total])
    left_out = torch.zeros_like(similarities, dtype=torch.bool)
    left_out[torch.arange(2 * batch, device=rows.device), rows] = True  # a row is not a negative of itself
    if ambiguous is not None:
        left_out[:, rows] |= ambiguous.repeat(2, 2)
    return F.cross_entropy(similarities.masked_fill(left_out, -torch.inf), (rows + total) % (2 * total))


def two_references(
    queries: Tensor,
    references: Tensor,
    second: Tensor,
    temperature: float = 0.05,
    gather: Gather | None = None,
    rank: int = 0,
    ambiguous: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of artificial mixes art_b = A_b + B_(b-1), each with two true references (arXiv:2510.11507).

    queries, references: [B, dim]. Reference b is a positive of query b. Reference b - 1 (for the first row, the last)
    is a second positive if `second` (bool [B]) says that it is audible, and is ignored otherwise. The two are never
    negatives of each other. `ambiguous`, `gather` and `rank` as in `nt_xent`. Returns the mean over this worker's
    positives, in both directions, in nats.
    """
    queries, references = F.normalize(queries.float(), dim=1), F.normalize(references.float(), dim=1)
    everyone = (queries, references) if gather is None else (gather(queries), gather(references))
    batch = queries.shape[0]
    rows = torch.arange(batch, device=queries.device)
    own = rank * batch + rows
    before = rank * batch + (rows - 1) % batch
    after = rank * batch + (rows + 1) % batch
    losses = []
    # the second reference of a query is the row before; the second query of a reference is the row after
    for mine, others, other, heard in (
        (queries, everyone[1], before, second),
        (references, everyone[0], after, second.roll(-1)),
    ):
        similarities = mine @ others.T / temperature
        left_out = torch.zeros_like(similarities, dtype=torch.bool)
        if ambiguous is not None:
            left_out[:, own] = ambiguous
        for positive, sibling, counted in ((own, other, torch.ones_like(second)), (other, own, heard)):
            masked = left_out.clone()
            masked[rows, sibling] = True
            masked[rows, positive] = False
            loss = F.cross_entropy(similarities.masked_fill(masked, -torch.inf), positive, reduction="none")
            losses.append(loss[counted])
    return torch.cat(losses).mean()


def balanced_cross_entropy(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy of logits [n] and labels [n] (0 or 1) with both classes weighing the same; and the accuracy.

    Positives are weighted, so that a probability of 0.5 means equally likely.
    """
    weights = torch.where(labels > 0, (labels == 0).sum() / (labels > 0).sum(), 1.0)
    loss = F.binary_cross_entropy_with_logits(logits, labels, weights)
    return loss, ((logits > 0) == (labels > 0)).float().mean()


def area_under_curve(positive: Tensor, negative: Tensor) -> float:
    """Share of pairs of a positive [p] and a negative [n] score whose positive one is higher; ties count half."""
    higher, equal = positive[:, None] > negative, positive[:, None] == negative
    return float(higher.float().mean() + equal.float().mean() / 2)


@torch.no_grad()
def hardest_negatives(queries: Tensor, references: Tensor, count: int, excluded: Tensor | None = None) -> Tensor:
    """For each query, the indices of the `count` nearest references that are not its own: int64 [B, count].

    queries [B, dim], references [B or more, dim]; reference b is the true one of query b and is never chosen. Those
    that `excluded` (bool [B, references]) marks are chosen only if there are no others. Raises ValueError if
    B <= count.
    """
    if len(queries) <= count:
        raise ValueError(f"{count} negatives need a batch of more than {count} pairs, not {len(queries)}")
    similarities = queries.float() @ references.float().T
    if excluded is not None:
        similarities = similarities.masked_fill(excluded, -1e4)
    similarities.fill_diagonal_(-torch.inf)
    return similarities.topk(count, dim=1).indices
