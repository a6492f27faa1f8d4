"""Training of the aligned reranker on what it will judge: the candidates of searches whose answers are known.

Wrong candidates are those that coarse search, alignment and the matched filter have let through, so they are as hard as
those of a sweep.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from asid_core.config import TrainingConfig
from asid_core.learning import losses, schedule
from asid_core.model.aligned_reranker import AlignedReranker

RIGHT, WRONG = 24, 48  # windows of each in a step
BINS_MOVED = 4  # most bins by which both patches are moved: a semitone each
OVERLAID, LOUDEST = 0.5, 0.7  # share of the queries under another query, and its highest level
WEIGHT_DECAY = 2e-2


@dataclass(frozen=True)
class Windows:
    """Aligned patches [n, bins, frames] of queries and references, and whether they share a sample (bool [n]).

    weights: float [n], how much a window counts: long candidates no more than short ones in all.
    """

    queries: Tensor
    references: Tensor
    right: Tensor
    weights: Tensor

    def __len__(self) -> int:
        return len(self.right)

    def of_label(self, right: bool) -> Tensor:
        """Numbers int64 of the right or of the wrong windows."""
        return (self.right == right).nonzero().flatten()


def fit(
    reranker: AlignedReranker, windows: Windows, training: TrainingConfig, progress: Callable[[int], None] | None = None
) -> None:
    """Train `reranker` for training.reranker_steps steps, and set it to eval mode.

    `progress` is called with the number of steps done. The result depends on the arguments alone. Raises ValueError if
    there are no right windows or no wrong ones.
    """
    if not len(windows.of_label(True)) or not len(windows.of_label(False)):
        raise ValueError("the searches found no right or no wrong candidates; use a larger benchmark")
    generator = torch.Generator().manual_seed(training.seed)
    peak, steps = training.reranker_learning_rate, training.reranker_steps
    optimiser = torch.optim.AdamW(reranker.parameters(), lr=peak, weight_decay=WEIGHT_DECAY)
    reranker.train()
    with torch.random.fork_rng():  # dropout draws from the global generator
        torch.manual_seed(training.seed)
        for step in range(steps):
            for group in optimiser.param_groups:
                group["lr"] = schedule.learning_rate(training, step, steps, peak)
            queries, references, labels = _batch(windows, generator)
            loss, _ = losses.balanced_cross_entropy(reranker(queries, references), labels)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(reranker.parameters(), training.clip_norm)
            optimiser.step()
            if progress:
                progress(step + 1)
    reranker.eval()


def area_under_curve(reranker: AlignedReranker, windows: Windows) -> float:
    """How often a right window gets more than a wrong one: 0.5 by chance, 1 at best."""
    log_odds = reranker.judged(windows.queries, windows.references)
    return losses.area_under_curve(log_odds[windows.right], log_odds[~windows.right])


def _batch(windows: Windows, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Patches of RIGHT right and WRONG wrong windows, varied, and their labels."""
    drawn = []
    for right, number in ((True, RIGHT), (False, WRONG)):
        known = windows.of_label(right)
        drawn.append(known[torch.multinomial(windows.weights[known], number, True, generator=generator)])
    chosen = torch.cat(drawn)
    queries, references = _varied(windows.queries[chosen].float(), windows.references[chosen].float(), generator)
    return queries, references, windows.right[chosen].float()


def _varied(queries: Tensor, references: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Both sides reversed in time or moved in frequency together; other queries laid over some of the queries."""
    if torch.rand((), generator=generator) < 0.5:
        queries, references = queries.flip(2), references.flip(2)
    bins = int(torch.randint(-BINS_MOVED, BINS_MOVED + 1, (), generator=generator))
    queries, references = queries.roll(bins, 1), references.roll(bins, 1)
    levels = LOUDEST * torch.rand(len(queries), 1, 1, generator=generator)
    levels = levels * (torch.rand(levels.shape, generator=generator) < OVERLAID)
    others = queries[torch.randperm(len(queries), generator=generator)]
    return torch.maximum(queries, levels * others), references
