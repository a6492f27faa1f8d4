"""The training worker: reads its shard of the spans, runs the loop, validates and writes checkpoints.

The same for encoder and reranker. A restarted worker resumes from the last checkpoint.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from asid_core.config import Config
from asid_core.learning.baseline import encoder_task
from asid_core.learning.growth import from_discriminant, open_blocks, with_graph_blocks
from asid_core.learning.loop import Loop, NotANumber, validation_pairs
from asid_core.learning.pairs import Batch, Pairs
from asid_core.learning.span_cache import SpanCache
from asid_core.learning.spans import to_batch
from asid_core.learning.tasks import RerankerTask, Task, attend_to_likeness
from asid_core.model.fingerprinter import Fingerprinter
from asid_core.model.reranker import Reranker
from asid_core.plain_values import from_dict
from pipelines.store.location import Location
from pipelines.train.record import Record, load_weights
from pipelines.train.stem_files import SPAN_SAMPLES

log = logging.getLogger(__name__)

VALIDATION_BATCH, VALIDATION_PAIRS = 64, 512
SPANS_PER_STEP = 32  # spans read and prepared before each step until the cache is filled; 3 s of a core
STEPS_PER_READ = 8  # steps per read once the cache is full, so that steps do not wait for reading


@dataclass(frozen=True)
class Job:
    """The arguments of a worker, as plain values, so that they can be pickled."""

    what: str  # encoder or reranker
    config: dict[str, Any]
    output: str
    steps: int
    learning_rate: float
    start: str | None  # weights to start from, as for `--weights`
    validation: pa.Table | None = None  # schema.stems; the driver fills it in


def dataset_name(rank: int) -> str:
    """Name of the dataset of a worker."""
    return f"train-{rank}"


class Feed:
    """Endless batches of `rows` rows: random excerpts of the spans in this worker's shard, which are cached.

    A shard that does not fit in the cache is read again and again; new spans replace the oldest. The first batches use
    the spans that have been read so far, so that the first step need not wait for all of them.
    """

    def __init__(self, shard: Any, rows: int, cache: SpanCache, seed: int) -> None:
        self.shard, self.rows, self.cache = shard, rows, cache
        self.generator = np.random.default_rng(seed)

    def __iter__(self) -> Iterator[Batch]:
        cache = self.cache
        while cache.full or not len(cache):
            for table in self.shard.iter_batches(
                batch_size=SPANS_PER_STEP,
                batch_format="pyarrow",
                prefetch_batches=1,
                local_shuffle_buffer_size=4 * SPANS_PER_STEP,
                local_shuffle_seed=int(self.generator.integers(2**31)),
            ):
                cache.add(to_batch(table, SPAN_SAMPLES, self.generator))
                if 2 * len(cache) >= self.rows:
                    for _ in range(STEPS_PER_READ if cache.full else 1):
                        yield cache.draw(self.rows, self.generator)
            if not len(cache):
                raise RuntimeError("a worker got no spans; use fewer workers or more music")
        while True:
            yield cache.draw(self.rows, self.generator)


def work(values: dict[str, Any]) -> None:
    """The function that each Ray Train worker runs. values: `job` (a Job) and `started` (a Unix time)."""
    import ray.train
    import ray.train.torch

    job: Job = values["job"]
    config = from_dict(Config, job.config)
    context = ray.train.get_context()
    rank = context.get_world_rank()
    torch.manual_seed(1000 * config.training.seed + rank)
    device = ray.train.torch.get_device()
    stages = _Stages(job, config, device)
    state = _last_checkpoint()
    loop = stages.loop(state)
    shard = ray.train.get_dataset_shard(dataset_name(rank))
    seed = 1000 * config.training.seed + rank + 17 * loop.step
    cache = SpanCache(loop.spectra, config.training.augmentation)
    batches = iter(Feed(shard, config.training.batch_pairs, cache, seed))
    record = Record(Location(job.output), rank, job.what)
    held_out = _held_out(job, loop)
    if loop.step == 0:
        log.info("first step after %.0f s", time.time() - values["started"])
        if job.what == "encoder" and job.start is not None:
            _check(loop, held_out, record)  # figures of the starting weights, for comparison
    try:
        while loop.step < job.steps:
            until = min(job.steps, (loop.step // config.training.check_every + 1) * config.training.check_every)
            for measured in loop.run(batches, min(until, stages.end(loop))):
                record.step(measured)
            if stages.is_closed(loop) and loop.step >= stages.opening:
                loop = stages.opened(loop, held_out.references)
            _check(loop, held_out, record)
    except NotANumber as error:
        record.not_a_number(error)  # all workers raise it together: the run ends, and the driver reports why
    record.close()


class _Stages:
    """Trains the encoder without its graph blocks at first, if the config says so (training.graph_blocks_start)."""

    def __init__(self, job: Job, config: Config, device: torch.device) -> None:
        self.job, self.config, self.device = job, config, device
        wanted = config.model.encoder.has_graph_blocks
        fresh = job.what == "encoder" and job.start is None
        self.opening = round(config.training.graph_blocks_start * job.steps) if wanted and fresh else 0

    def loop(self, state: dict[str, Any] | None) -> Loop:
        """The training loop, restored from `state`, or at its start if `state` is None."""
        torch.manual_seed(self.config.training.seed)  # the same first weights on every worker
        closed = (not state["graph_blocks"]) if state else self.opening > 0
        if self.job.start is not None:
            model = load_weights(self.job.start)
            if self.job.what == "reranker":
                model = with_reranker(model, self.config)
            elif model.config.model.encoder.is_fitted:
                model = from_discriminant(self.config, model)
        else:
            model = Fingerprinter(with_graph_blocks(self.config, False) if closed else self.config)
        loop = self._around(model)
        if state:
            loop.restore(state)
        return loop

    def end(self, loop: Loop) -> int:
        """The step at which training of this loop's model ends."""
        return self.opening if self.is_closed(loop) else self.job.steps

    def is_closed(self, loop: Loop) -> bool:
        """Whether this loop's model will get its graph blocks later."""
        return self.opening > 0 and not loop.task.model.config.model.encoder.has_graph_blocks

    def opened(self, loop: Loop, patches: torch.Tensor) -> Loop:
        """A loop for the same model with graph blocks and a fresh optimiser."""
        after = self._around(open_blocks(loop.task.model.eval(), patches))
        after.step = loop.step
        return after

    def _around(self, model: Fingerprinter) -> Loop:
        model = model.to(self.device)
        encoder = self.job.what == "encoder"
        task: Task = (encoder_task if encoder else RerankerTask)(model, self.config.training)
        return Loop(task, self.config.training, self.job.steps, self.job.learning_rate)


def with_reranker(model: Fingerprinter, config: Config) -> Fingerprinter:
    """The encoder of `model` with a fresh reranker of the kind that `config` describes."""
    wanted = replace(model.config, model=replace(model.config.model, reranker=config.model.reranker))
    fresh = Fingerprinter(wanted)
    fresh.encoder.load_state_dict(model.encoder.state_dict())
    if isinstance(fresh.reranker, Reranker):
        attend_to_likeness(fresh.reranker)
    return fresh.eval()


def _held_out(job: Job, loop: Loop) -> Pairs:
    """Validation pairs, the same in every run of this job.

    If there are few spans, takes several excerpts of each, because figures from few pairs are too coarse.
    """
    assert job.validation is not None
    generator = np.random.default_rng(0)
    cache = SpanCache(loop.spectra, loop.training.augmentation)
    cache.add(to_batch(job.validation, SPAN_SAMPLES, generator))
    size = min(VALIDATION_BATCH, len(cache))
    return validation_pairs([cache.draw(size, generator) for _ in range(-(-VALIDATION_PAIRS // size))], loop)


def _last_checkpoint() -> dict[str, Any] | None:
    import ray.train

    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return None
    with checkpoint.as_directory() as directory:
        state: dict[str, Any] = torch.load(Path(directory) / "state.pt", map_location="cpu", weights_only=True)
    return state


def _check(loop: Loop, held_out: Pairs, record: Record) -> None:
    """Validate, save the weights and report to Ray. Every worker must call this; the first does the work."""
    import ray.train

    if record.rank:
        ray.train.report({"step": loop.step})
        return
    figures = loop.task.validate(held_out)
    record.check(loop, figures, loop.task.finished(held_out))
    with tempfile.TemporaryDirectory(prefix="asid-") as directory:
        state = loop.state() | {"graph_blocks": loop.task.model.config.model.encoder.has_graph_blocks}
        torch.save(state, Path(directory) / "state.pt")
        metrics = {"step": loop.step, **figures}
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(directory))
