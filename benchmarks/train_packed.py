"""Trains an encoder, and then its reranker, on one GPU without Ray, on spans that `pack_spans` has packed.

The same loop, losses and augmentation as `asid train`, for a machine that is lent for minutes and has only PyTorch.
Writes weights, the config and a log to the output after every validation.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from asid_core import config as configs
from asid_core.config import Config
from asid_core.learning.baseline import encoder_task
from asid_core.learning.growth import from_discriminant, open_blocks, with_graph_blocks
from asid_core.learning.loop import Loop, Measured
from asid_core.learning.pairs import Batch, Pairs
from asid_core.learning.tasks import RerankerTask, attend_to_likeness
from asid_core.model.aligned_reranker import AlignedReranker
from asid_core.model.fingerprinter import Fingerprinter
from asid_core.model.reranker import Reranker
from benchmarks.lib.packed_spans import Pcm, unpack
from benchmarks.lib.spans_on_device import SpansOnDevice, held_out_pairs

VALIDATION_BATCHES, VALIDATION_ROWS = 16, 128


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("config", metavar="CONFIG", help="a shipped config or a file")
    parser.add_argument("--spans", metavar="DIR", type=Path, required=True, help="made by pack_spans")
    parser.add_argument("--output", metavar="DIR", type=Path, required=True)
    parser.add_argument("--weights", metavar="W", help="to start from: a projection, or a network")
    parser.add_argument("--set", metavar="K=V", dest="assignments", action="append", default=[])
    args = parser.parse_args(argv)
    config = configs.load(args.config, args.assignments)
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.manual_seed(config.training.seed)  # for the first weights
    model = fresh(config, args.weights).to("cuda" if torch.cuda.is_available() else "cpu")
    training = config.training
    loop = Loop(encoder_task(model, training), training, training.steps, training.learning_rate)
    spans, held_out = divided(*unpack(args.spans), loop)
    if config.model.encoder.has_graph_blocks and not model.config.model.encoder.has_graph_blocks:
        model = open_blocks(model.eval(), held_out.references)
        loop = Loop(encoder_task(model, training), training, training.steps, training.learning_rate)
    run(loop, spans, held_out, args.output)
    if isinstance(model.reranker, Reranker):
        attend_to_likeness(model.reranker)
        task = RerankerTask(model, training)
        loop = Loop(task, training, training.reranker_steps, training.reranker_learning_rate)
        run(loop, spans, held_out, args.output)
    return 0


def fresh(config: Config, weights: str | None) -> Fingerprinter:
    """A model with new weights, with the given projection, or with the encoder of the given network."""
    if weights is None:
        if config.model.encoder.starts_from_projection:
            raise ValueError("encoder.head: gains starts from a projection; pass --weights discriminant")
        return Fingerprinter(config)
    start = Fingerprinter.from_pretrained(weights)
    if start.config.model.encoder.is_fitted:
        return from_discriminant(config, start)
    model = Fingerprinter(with_graph_blocks(config, start.config.model.encoder.has_graph_blocks))
    model.encoder.load_state_dict(start.encoder.state_dict())
    if isinstance(model.reranker, AlignedReranker) and isinstance(start.reranker, AlignedReranker):
        model.reranker.load_state_dict(start.reranker.state_dict())
    return model


def divided(pcm: Pcm, track_ids: Sequence[str], loop: Loop) -> tuple[SpansOnDevice, Pairs]:
    """The spans to train on, and pairs of those of training.held_out. Raises ValueError if either is empty."""
    training = loop.training
    held = np.array([track_id.startswith(training.held_out) for track_id in track_ids])
    if held.all() or not held.any():
        raise ValueError("training.held_out must hold out some of the tracks")
    kept, left_out = (
        SpansOnDevice(pcm[some], np.array(track_ids)[some].tolist(), loop.spectra, training.augmentation)
        for some in (~held, held)
    )
    return kept, held_out_pairs(left_out, VALIDATION_BATCHES, VALIDATION_ROWS, loop)


def run(loop: Loop, spans: SpansOnDevice, held_out: Pairs, output: Path) -> None:
    """Train to the last step, with a validation every training.check_every steps."""
    training = loop.training
    torch.manual_seed(1000 * training.seed + 1)
    batches = endless(spans, training.batch_pairs)
    started = time.perf_counter()
    check(loop, held_out, None, started, output)
    while loop.step < loop.steps:
        until = min(loop.steps, (loop.step // training.check_every + 1) * training.check_every)
        *_, measured = loop.run(batches, until)
        check(loop, held_out, measured, started, output)


def endless(spans: SpansOnDevice, rows: int) -> Iterator[Batch]:
    """Batches without end."""
    while True:
        yield spans.draw(rows)


def check(loop: Loop, held_out: Pairs, measured: Measured | None, started: float, output: Path) -> None:
    """Validate, print and log the figures, and save the model."""
    values: dict[str, Any] = {"task": loop.task.name, "step": loop.step, "seconds": time.perf_counter() - started}
    values |= loop.task.validate(held_out)
    if measured:
        values |= {"loss": measured.loss} | dict(measured.values)
    output.mkdir(parents=True, exist_ok=True)
    with (output / "log.jsonl").open("a") as log:
        log.write(json.dumps(values) + "\n")
    print(output.name, values, flush=True)
    loop.task.finished(held_out).save(output)


if __name__ == "__main__":
    sys.exit(main())
