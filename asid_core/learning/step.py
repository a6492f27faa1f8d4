"""One step of training, the same with one worker or many, with Ray or without."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from asid_core.config import Training
from asid_core.learning import losses
from asid_core.learning.pairs import Pairs


class NotANumber(ArithmeticError):
    """The loss or a gradient is not finite; `pairs` is what it came from, `step` when."""

    def __init__(self, step: int, pairs: Pairs, what: str) -> None:
        super().__init__(f"the {what} is not a number at step {step}")
        self.step, self.pairs = step, pairs


@dataclass(frozen=True)
class Measured:
    """What a step tells."""

    loss: float
    accuracy: float  # share of this worker's queries nearest to their own reference among this worker's
    gradient_norm: float


def encoder_loss(
    encode: Callable[[Tensor], tuple[Tensor, Tensor]],
    pairs: Pairs,
    training: Training,
    gather: losses.Gather | None = None,
    rank: int = 0,
) -> tuple[Tensor, Tensor]:
    """(loss, in-batch accuracy) of pairs; both sides go through `encode` at once, so batch norms see both."""
    batch = len(pairs.references)
    vectors, _ = encode(torch.cat([pairs.references, pairs.queries]))
    references, queries = vectors[:batch], vectors[batch:]
    if pairs.second is None:
        loss = losses.nt_xent(references, queries, training.tau, gather, rank, pairs.ambiguous)
    else:
        loss = losses.two_references(queries, references, pairs.second, training.tau, gather, rank, pairs.ambiguous)
    with torch.no_grad():
        nearest = (queries.float() @ references.float().T).masked_fill(pairs.ambiguous, -1).argmax(1)
        accuracy = (nearest == torch.arange(batch, device=nearest.device)).float().mean()
    return loss, accuracy


def take_step(
    optimiser: torch.optim.Optimizer, module: nn.Module, loss: Tensor, clip_norm: float, step: int, pairs: Pairs
) -> float:
    """Backward, clip, update; returns the gradient's norm before clipping.

    Raises NotANumber, the weights untouched, where the loss or the gradient is not finite.
    """
    if not torch.isfinite(loss):
        raise NotANumber(step, pairs, "loss")
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_([p for p in module.parameters() if p.grad is not None], clip_norm)
    if not torch.isfinite(norm):
        raise NotANumber(step, pairs, "gradient")
    optimiser.step()
    return float(norm)


def set_learning_rate(optimiser: torch.optim.Optimizer, value: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = value
