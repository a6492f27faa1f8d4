"""Training on one core: pairs a second of each model, and what share of a step goes into making its pairs.

Spans are noise kept in memory as training keeps them; drawing, augmenting and the step itself take no account of what
sounds. The model starts from nothing, at full difficulty. What reads the tables does so beside it, and is not in here.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from asid_core import config as configs
from asid_core.learning.baseline import encoder_task
from asid_core.learning.loop import Loop
from asid_core.learning.pairs import Batch, make_pairs
from asid_core.learning.span_cache import SpanCache
from asid_core.model.fingerprinter import Fingerprinter
from benchmarks.lib.results import write_json, write_section
from pipelines.train.stem_files import SPAN_SAMPLES

COMMAND = "make -C benchmarks train"
SPANS = 64
STEPS = 4  # after one to warm up
# model, what is set beside its config: batches that take seconds, not minutes
MODELS: dict[str, tuple[str, Sequence[str]]] = {
    "gnn": ("gnn", ()),
    "gnn-paper, graph blocks off": ("gnn-paper", ["training.batch_pairs=32"]),
    "gnn-paper, graph blocks on": ("gnn-paper", ["training.batch_pairs=8", "model.encoder.graph_blocks=true"]),
    "resnet-ibn": ("resnet-ibn", ()),
}


@dataclass(frozen=True)
class Trained:
    """Means over steps, in seconds."""

    model: str
    pairs: int  # a step
    making_s: float  # pairs: drawn and augmented
    step_s: float

    @property
    def whole_s(self) -> float:
        return self.making_s + self.step_s


def noise(generator: torch.Generator) -> Batch:
    sources = 0.1 * torch.randn(SPANS, SPAN_SAMPLES, generator=generator)
    return Batch(sources, torch.zeros(SPANS, 1), torch.zeros(SPANS, dtype=torch.bool), torch.arange(SPANS))


def measure(name: str, model_name: str, settings: Sequence[str]) -> Trained:
    config = configs.load(model_name, settings)
    training, model = config.training, Fingerprinter(config)
    task = encoder_task(model, training)
    loop = Loop(task, training, training.steps, training.learning_rate)
    cache = SpanCache(loop.spectra, training.augmentation)
    cache.add(noise(torch.Generator().manual_seed(0)))
    task.train()
    rng, spent = np.random.default_rng(0), np.zeros(2)
    for step in range(STEPS + 1):
        times = [time.perf_counter()]
        pairs = make_pairs(cache.draw(training.batch_pairs, rng), loop.spectra, training, 1.0)
        times.append(time.perf_counter())
        loop.take(pairs)
        times.append(time.perf_counter())
        spent += np.diff(times) if step else 0
    return Trained(name, training.batch_pairs, *(spent / STEPS).tolist())


def table(found: Sequence[Trained]) -> str:
    lines = [
        "| model | pairs a step | seconds a step | pairs/s | share spent on making pairs |",
        "|---|---|---|---|---|",
    ]
    for one in found:
        share = one.making_s / one.whole_s
        lines.append(
            f"| {one.model} | {one.pairs} | {one.whole_s:.2f} | {one.pairs / one.whole_s:,.0f} | {share:.2f} |"
        )
    return "\n".join(lines)


def main() -> int:
    torch.set_num_threads(1)
    found = [measure(name, *what) for name, what in MODELS.items()]
    text = f"One thread, {SPANS} spans in memory.\n\n{table(found)}"
    print(text)
    write_json("train", {"models": found})
    write_section("Training speed", COMMAND, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
