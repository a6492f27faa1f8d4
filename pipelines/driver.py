"""Runs a stage: list what is left, give it to Ray, take the outcomes, commit them, report progress.

How often lost work is tried again, and what a task takes of a machine, is said here for every stage.
"""

from __future__ import annotations

import itertools
import logging
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

import pyarrow as pa

from pipelines.runtime import ProgressCallback

log = logging.getLogger(__name__)

WAVE = (
    20_000  # items given to Ray at once: bounds the driver's memory; a wave's last tasks idle some seconds in an hour
)
COMMIT_EVERY_S = 60.0  # at least, so that little is lost where each item takes long
# Of a task whose Ray worker dies (out of memory, a lost node) or whose store does not answer; Ray's default is for ever
TASK_RETRIES = 2
# Of a call of an actor. Until a lost node is known to be lost, some 20 s, Ray calls its actors again and again: two
# tries were gone in five
CALL_RETRIES = 30

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


class Stage(ABC, Generic[Item, Outcome]):
    """The driver's part of a stage, run by `drive`. Whatever was killed is started again: `todo` gives what is left."""

    name: str
    commit_items = 1  # so many waiting items are committed

    @abstractmethod
    def todo(self) -> Iterable[Item]:
        """What is neither committed nor refused yet; listed as it is needed."""

    @abstractmethod
    def submit(self, items: list[Item]) -> Iterator[Outcome]:
        """Have Ray do `items`; outcomes come as they are ready."""

    @abstractmethod
    def take(self, outcome: Outcome) -> None:
        """Count an outcome and keep it for the next commit."""

    def waiting(self) -> int:
        """Items taken since the last commit."""
        return 0

    def commit(self) -> None:  # noqa: B027 (a stage whose tasks commit has none)
        """Make what was taken visible to readers."""

    @abstractmethod
    def counts(self) -> dict[str, Any]:
        """For progress: at least `done`, with what earlier runs did, and `total` (None while it is not known)."""


def drive(stage: Stage[Any, Any], progress: ProgressCallback | None = None) -> None:
    """Run a stage to its end. Needs a running Ray.

    What was taken is committed whatever ends the run: an error, Ctrl-C or the end of the work.
    """

    def report() -> None:
        if progress is not None:
            progress({"stage": stage.name, **stage.counts()})

    committed = time.monotonic()
    try:
        todo = iter(stage.todo())
        while wave := list(itertools.islice(todo, WAVE)):
            for outcome in stage.submit(wave):
                stage.take(outcome)
                late = stage.waiting() and time.monotonic() - committed > COMMIT_EVERY_S
                if late or stage.waiting() >= stage.commit_items:
                    stage.commit()
                    committed = time.monotonic()
                report()
    finally:
        stage.commit()


def map_blocks(
    function: Any, blocks: Sequence[pa.Table], actors: int | None = None, **options: Any
) -> Iterator[dict[str, Any]]:
    """The rows that `function` makes of each block, through Ray Data; `options` are those of `map_batches`.

    actors: how many of the class `function` to start, each with a CPU, and a GPU where there are any; their rows come
    in the blocks' order. None: `function` runs as tasks, and rows come as tasks end.
    """
    import ray.data

    data = ray.data.from_arrow(list(blocks))
    if actors is None:
        options |= {"max_retries": TASK_RETRIES}
    else:
        data.context.execution_options.preserve_order = True
        gpus = 1 if ray.cluster_resources().get("GPU", 0) >= 1 else None
        pool = ray.data.ActorPoolStrategy(size=min(actors, len(blocks)))
        options |= {"compute": pool, "num_cpus": 1, "num_gpus": gpus, "max_task_retries": CALL_RETRIES}
    with warnings.catch_warnings():
        # Ray 2.60 has no other place to say how often work may be lost; it warns that 2.64 will
        warnings.simplefilter("ignore", DeprecationWarning)
        outcomes = data.map_batches(function, batch_size=None, batch_format="pyarrow", **options)
    for batch in outcomes.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        yield from batch.to_pylist()


def run_tasks(function: Callable[..., Any], arguments: Iterable[tuple[Any, ...]]) -> Iterator[tuple[int, Any]]:
    """(number, result) of `function(*arguments[number])` as Ray tasks, in the order in which they end.

    A task takes a CPU and its share of the GPUs. Two tasks per CPU are submitted at once, so that the next one waits
    where one ends. Raises the first error once all others are done.
    """
    import ray

    gpus = gpu_share([node["Resources"] for node in ray.nodes() if node["Alive"]])
    task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=TASK_RETRIES, retry_exceptions=[OSError])(function)
    waiting = iter(enumerate(arguments))
    running: dict[Any, int] = {}

    def start(count: int) -> None:
        for number, some in itertools.islice(waiting, count):
            running[task.remote(*some)] = number

    start(2 * cpus())
    errors: list[Exception] = []
    while running:
        (ended,), _ = ray.wait(list(running))
        number = running.pop(ended)
        start(1)
        try:
            result = ray.get(ended)
        except Exception as error:  # whatever it is, the other tasks are worth finishing
            log.error("%s %d failed: %s", function.__name__, number, error)
            errors.append(error)
        else:
            yield number, result
    if errors:
        raise errors[0]


def cpus() -> int:
    """CPUs of all nodes, at least 1."""
    import ray

    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def gpu_share(nodes: Sequence[Mapping[str, float]]) -> float:
    """What a task of one CPU takes of a GPU, by the resources of the nodes: none if a node with CPUs has no GPU.

    Verification, half of a sweep and more, keeps the cores busy: none is to be left out for want of a GPU.
    """
    return min((min(1.0, node.get("GPU", 0) / node["CPU"]) for node in nodes if node.get("CPU", 0)), default=0.0)
