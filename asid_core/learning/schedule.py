"""What changes from step to step: the learning rate and how hard the pairs are."""

from __future__ import annotations

import math

from asid_core.config import Training

EASIEST = 0.05


def learning_rate(training: Training, step: int) -> float:
    """Linear warm-up, then half a cosine down to the final rate (DESIGN section 4)."""
    if step < training.warmup_steps:
        return training.learning_rate * (step + 1) / training.warmup_steps
    done = (step - training.warmup_steps) / max(training.steps - training.warmup_steps, 1)
    span = training.learning_rate - training.final_learning_rate
    return training.final_learning_rate + span * (1 + math.cos(math.pi * min(done, 1.0))) / 2


def hardness(training: Training, step: int) -> float:
    """Share of the augmentation's ranges: from 5 % to all of them over `curriculum` of the steps.

    Started at full hardness a network learned nothing for 350 steps.
    """
    ramp = training.curriculum * training.steps
    return 1.0 if ramp <= 0 else min(1.0, EASIEST + (1 - EASIEST) * step / ramp)


def blocks_open(training: Training, step: int) -> bool:
    """Whether the graph blocks take part at this step."""
    return step >= training.blocks_from * training.steps
