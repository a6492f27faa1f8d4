"""Measures training on one core: pairs per second of each model, and the share of a step spent on making pairs.

Spans are noise in the span cache, because the time does not depend on the audio. Models start from random weights, at
full difficulty. Reading the tables is left out, because it runs in parallel.
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
# model, overrides that make batches take seconds instead of minutes
MODELS: dict[str, tuple[str, Sequence[str]]] = {
    "gnn": ("gnn", ()),
    "gnn-paper, graph blocks off": ("gnn-paper", ["training.batch_pairs=32"]),
    "gnn-paper, graph blocks on": ("gnn-paper", ["training.batch_pairs=8", "model.encoder.graph_blocks=true"]),
    "resnet-ibn": ("resnet-ibn", ()),
}


@dataclass(frozen=True)
class Trained:
    """Mean times of a step."""

    model: str
    pairs: int  # per step
    making_s: float  # drawing and augmenting the pairs
    step_s: float  # forward, backward and update

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


def table(models: Sequence[Trained]) -> str:
    lines = [
        "| model | pairs per step | seconds per step | pairs/s | share spent on making pairs |",
        "|---|---|---|---|---|",
    ]
    for one in models:
        share = one.making_s / one.whole_s
        lines.append(
            f"| {one.model} | {one.pairs} | {one.whole_s:.2f} | {one.pairs / one.whole_s:,.0f} | {share:.2f} |"
        )
    return "\n".join(lines)


def main() -> int:
    torch.set_num_threads(1)
    models = [measure(name, *what) for name, what in MODELS.items()]
    text = f"One thread, {SPANS} spans in memory.\n\n{table(models)}"
    print(text)
    write_json("train", {"models": models})
    write_section("Training speed", COMMAND, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
