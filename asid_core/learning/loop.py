"""The training loop of one worker. Independent of Ray and of files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn

from asid_core.config import TrainingConfig
from asid_core.learning import distributed, schedule
from asid_core.learning.front_end_spectra import spectra_of
from asid_core.learning.pairs import Batch, Pairs, ambiguous_rows, make_pairs, second_references
from asid_core.learning.tasks import Task
from asid_core.precision import bfloat16_pays


class NotANumber(ArithmeticError):
    """The loss or a gradient of any worker is not finite. `pairs` is this worker's part of the batch."""

    def __init__(self, step: int, pairs: Pairs, what: str) -> None:
        super().__init__(f"the {what} is not a number at step {step}")
        self.step, self.pairs = step, pairs


@dataclass(frozen=True)
class Measured:
    """Figures of one step: means over workers, and the norm of the gradient before clipping."""

    step: int
    loss: float
    values: Mapping[str, float]
    gradient_norm: float
    learning_rate: float
    difficulty: float


class Loop:
    """The training state of one worker. With torch.distributed, gradients and losses are of the global batch."""

    def __init__(self, task: Task, training: TrainingConfig, steps: int, learning_rate: float) -> None:
        self.task, self.training, self.steps = task, training, steps
        self.device = task.model.device
        task.model.known_id = None  # the weights are about to change
        self.workers = dist.get_world_size() if dist.is_initialized() else 1
        self.rank = dist.get_rank() if self.workers > 1 else 0
        self.spectra = spectra_of(task.model.front_end, training.augmentation.semitones).to(self.device)
        self.half = task.half and bfloat16_pays(self.device)
        self.peak = learning_rate
        self.step = 0
        self.wrapped: nn.Module = task.module
        if self.workers > 1:
            ids = [self.device] if self.device.type == "cuda" else None
            self.wrapped = nn.parallel.DistributedDataParallel(distributed.synchronise(task.module), device_ids=ids)
        trained = [p for p in task.module.parameters() if p.requires_grad]
        self.optimiser = torch.optim.Adam(trained, lr=learning_rate, fused=True)

    def run(self, batches: Iterator[Batch], until: int) -> Iterator[Measured]:
        """Train up to step `until`. Raises NotANumber, on all workers at the same step, before changing weights."""
        self.task.train()
        while self.step < until:
            difficulty = schedule.difficulty(self.training, self.step, self.steps)
            pairs = make_pairs(next(batches).to(self.device), self.spectra, self.training, difficulty)
            yield self.take(pairs, difficulty)

    def take(self, pairs: Pairs, difficulty: float = 1.0) -> Measured:
        """Do one training step on `pairs`. Raises NotANumber before changing weights."""
        rate = schedule.learning_rate(self.training, self.step, self.steps, self.peak)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        gather = distributed.gathered if self.workers > 1 else None
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            loss, values = self.task.loss(self.wrapped, pairs, gather, self.rank)
        mean = distributed.mean_over_workers(loss)
        if not torch.isfinite(mean):
            raise NotANumber(self.step, pairs, "loss")
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        trained = [p for p in self.task.module.parameters() if p.grad is not None]
        # equal on all workers, because DDP has averaged the gradients
        norm = nn.utils.clip_grad_norm_(trained, self.training.clip_norm)
        if not torch.isfinite(norm):
            raise NotANumber(self.step, pairs, "gradient")
        self.optimiser.step()
        self.step += 1
        means = {key: float(distributed.mean_over_workers(value)) for key, value in values.items()}
        return Measured(self.step, float(mean), means, float(norm), rate, difficulty)

    def state(self) -> dict[str, object]:
        """Everything that a later run needs to resume from here."""
        return {"step": self.step, "weights": self.task.model.weights(), "optimiser": self.optimiser.state_dict()}

    def restore(self, state: Mapping[str, object]) -> None:
        """Resume from the result of `state()`."""
        self.task.model.load_state_dict(state["weights"], strict=False)  # type: ignore[arg-type]
        self.optimiser.load_state_dict(state["optimiser"])  # type: ignore[arg-type]
        self.step = int(state["step"])  # type: ignore[call-overload]


def validation_pairs(batches: list[Batch], loop: Loop) -> Pairs:
    """Pairs of all batches at full difficulty; deterministic.

    `ambiguous` covers all queries and references. For mixes, a query's second reference is never a wrong answer.
    """
    with torch.random.fork_rng(devices=[loop.device] if loop.device.type == "cuda" else []):
        torch.manual_seed(loop.training.seed)
        made = [make_pairs(batch.to(loop.device), loop.spectra, loop.training, 1.0) for batch in batches]
    references = torch.cat([pairs.references for pairs in made])
    ambiguous = ambiguous_rows(references, torch.cat([batch.track for batch in batches]).to(loop.device))
    if loop.training.objective == "mixes":
        ambiguous |= torch.block_diag(*(second_references(len(pairs), loop.device) for pairs in made))
    return Pairs(references, torch.cat([pairs.queries for pairs in made]), ambiguous)
