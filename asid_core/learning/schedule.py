"""Schedules of the learning rate and of the difficulty of pairs."""

from __future__ import annotations

import math

from asid_core.config import TrainingConfig

EASIEST = 0.05


def learning_rate(training: TrainingConfig, step: int, steps: int, peak: float) -> float:
    """The learning rate at `step`: linear warm-up to `peak`, then cosine decay to the final rate at `steps`."""
    warmup = min(training.warmup_steps, steps // 4)
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / max(steps - warmup, 1)
    last = min(training.final_learning_rate, peak)
    return last + (peak - last) * (1 + math.cos(math.pi * min(done, 1.0))) / 2


def difficulty(training: TrainingConfig, step: int, steps: int) -> float:
    """The share of the augmentation ranges at `step`: grows from 5 % to 100 % during the curriculum.

    Without a curriculum, training hardly progresses at first.
    """
    ramp = training.curriculum * steps
    return 1.0 if ramp <= 0 else min(1.0, EASIEST + (1 - EASIEST) * step / ramp)
