"""What changes from step to step: the learning rate and how hard the pairs are."""

from __future__ import annotations

import math

from asid_core.config import TrainingConfig

EASIEST = 0.05


def learning_rate(training: TrainingConfig, step: int, steps: int, peak: float) -> float:
    """Linear warm-up to `peak`, then half a cosine down to the final rate at `steps`."""
    warmup = min(training.warmup_steps, steps // 4)
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / max(steps - warmup, 1)
    last = min(training.final_learning_rate, peak)
    return last + (peak - last) * (1 + math.cos(math.pi * min(done, 1.0))) / 2


def difficulty(training: TrainingConfig, step: int, steps: int) -> float:
    """Share of the augmentation's ranges: from 5 % to all of them over `curriculum` of the steps.

    Started at full difficulty a network learned nothing for 350 steps.
    """
    ramp = training.curriculum * steps
    return 1.0 if ramp <= 0 else min(1.0, EASIEST + (1 - EASIEST) * step / ramp)
