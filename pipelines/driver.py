"""Runs a stage: list what is left, submit it to Ray, take the outcomes, commit them, report progress.

Also sets, for every stage, how often lost work is retried and which resources a task reserves.
"""

from __future__ import annotations

import itertools
import logging
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import pyarrow as pa

from pipelines import metrics
from pipelines.runtime import ProgressCallback, worker_error

log = logging.getLogger(__name__)

WAVE = 20_000  # items submitted at once; bounds the driver's memory
COMMIT_EVERY_S = 60.0  # longest time between commits, so that little is lost when items take long
# For a task whose worker dies (out of memory, lost node) or whose store does not answer. Ray's default has no limit.
TASK_RETRIES = 2
# For a call of an actor. Ray takes some 20 s to notice a lost node, and uses up retries on its actors meanwhile.
CALL_RETRIES = 30

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


class Stage(ABC, Generic[Item, Outcome]):
    """The driver's part of a stage, run by `drive`. A killed run is simply started again: `todo` lists what is left."""

    name: str
    commit_items = 1  # commit as soon as this many items wait

    @abstractmethod
    def todo(self) -> Iterable[Item]:
        """The items that are neither committed nor rejected yet. Iterated lazily."""

    @abstractmethod
    def submit(self, items: list[Item]) -> Iterator[Outcome]:
        """Process `items` on Ray, and yield their outcomes as they become ready."""

    @abstractmethod
    def take(self, outcome: Outcome) -> None:
        """Count an outcome and keep it for the next commit."""

    def waiting(self) -> int:
        """Number of items taken since the last commit."""
        return 0

    def commit(self) -> None:  # noqa: B027 (not needed where the tasks commit themselves)
        """Make the outcomes taken so far visible to readers."""

    @abstractmethod
    def counts(self) -> dict[str, Any]:
        """Fields of a progress event: at least `done`, including earlier runs, and `total` (None while unknown)."""


def drive(stage: Stage[Any, Any], progress: ProgressCallback | None = None) -> None:
    """Run a stage to its end; `progress` and Prometheus hear of every outcome. Needs a running Ray.

    Outcomes that were taken are committed however the run ends: normally, by an error or by Ctrl-C.
    """

    started = committed = time.monotonic()

    def report() -> None:
        event = {"stage": stage.name, **stage.counts()}
        metrics.report_stage(event, time.monotonic() - started)
        if progress is not None:
            progress(event)

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
    function: Any, blocks: Sequence[pa.Table], actors: int | None = None, on_gpus: bool = False, **options: Any
) -> Iterator[dict[str, Any]]:
    """Apply `function` to each block with Ray Data and yield the resulting rows. `options` are passed to `map_batches`.

    actors: number of actors of the class `function` to start, each with one CPU, and one GPU if `on_gpus`; rows come in
    the order of the blocks. Actors for which there is no room wait for the cluster's autoscaler. None: `function` runs
    as tasks, and rows come as tasks end.
    """
    import ray.data

    data = ray.data.from_arrow(list(blocks))
    if actors is None:
        options |= {"max_retries": TASK_RETRIES}
    else:
        data.context.execution_options.preserve_order = True
        pool = ray.data.ActorPoolStrategy(size=min(actors, len(blocks)))
        options |= {"compute": pool, "num_cpus": 1, "num_gpus": int(on_gpus) or None, "max_task_retries": CALL_RETRIES}
    with warnings.catch_warnings():
        # Ray 2.60 has no other way to set retries; it warns about the one that 2.64 will have
        warnings.simplefilter("ignore", DeprecationWarning)
        # on GPUs, Ray wants a number of rows; no block has more
        rows = max((block.num_rows for block in blocks), default=1) if on_gpus else None
        outcomes = data.map_batches(function, batch_size=rows, batch_format="pyarrow", **options)
    for batch in outcomes.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        yield from batch.to_pylist()


def run_tasks(
    function: Callable[..., Any], arguments: Iterable[tuple[Any, ...]], memory_bytes: float = 0
) -> Iterator[tuple[int, Any]]:
    """Run `function(*arguments[number])` as Ray tasks and yield (number, result) in the order in which they end.

    A task reserves one CPU, `gpu_share` of a GPU and the memory it needs. Two tasks per CPU are submitted at once, so
    that no CPU has to wait for its next task. Raises the first error after all other tasks have ended.
    """
    import ray

    nodes = _nodes()
    reserved = {"num_cpus": 1, "num_gpus": gpu_share(nodes), "memory": memory_share(nodes, memory_bytes)}
    task = ray.remote(**reserved, max_retries=TASK_RETRIES, retry_exceptions=[OSError])(function)
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
        except Exception as error:  # of any kind: the results of the other tasks are still wanted
            errors.append(worker_error(error))
            log.error("%s %d failed: %s", function.__name__, number, " ".join(str(errors[-1]).split()))
        else:
            yield number, result
    if errors:
        raise errors[0]


def run_on_node(function: Callable[..., Any], *arguments: Any, memory_bytes: float) -> Any:
    """The result of `function(*arguments)`, run as a Ray task that has all CPUs of the largest node."""
    import ray

    nodes = _nodes()
    reserved = {
        "num_cpus": max([1, *(node.get("CPU", 0) for node in nodes)]),
        "memory": memory_share(nodes, memory_bytes),
    }
    try:
        return ray.get(ray.remote(**reserved, max_retries=TASK_RETRIES)(function).remote(*arguments))
    except Exception as error:
        raise worker_error(error) from None


def kept_on_node(function: Callable[..., Any], *arguments: Any, memory_bytes: float) -> Any:
    """A reference to the result of `function(*arguments)`, which stays in the object store until tasks ask for it.

    It runs as a Ray task with one CPU, on a node that has the memory.
    """
    import ray

    def kept(*some: Any) -> tuple[Any, None]:
        return function(*some), None  # the second result says that the first is there, without fetching it

    reserved = {"num_cpus": 1, "memory": int(memory_bytes), "max_retries": TASK_RETRIES, "retry_exceptions": [OSError]}
    result, done = ray.remote(**reserved, num_returns=2)(kept).remote(*arguments)
    try:
        ray.get(done)
    except Exception as error:
        raise worker_error(error) from None
    return result


def _nodes() -> list[Mapping[str, float]]:
    """Ray's resources of each node."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


@dataclass(frozen=True)
class Room:
    """Of the nodes with CPUs: the memory of the one that has most, the object store of the one that has least."""

    memory_bytes: float
    store_bytes: float


def room() -> Room | None:
    """The room for a large object that tasks on all nodes use; None if no node with CPUs is there yet."""
    nodes = [node for node in _nodes() if node.get("CPU", 0)]
    if not nodes:
        return None
    memory, store = ([node.get(name, 0.0) for node in nodes] for name in ("memory", "object_store_memory"))
    return Room(max(memory), min(store))


def cpus() -> int:
    """Number of CPUs of all nodes, at least 1. Needs a running Ray."""
    import ray

    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def gpus() -> int:
    """Number of GPUs of all nodes. Needs a running Ray."""
    import ray

    return int(ray.cluster_resources().get("GPU", 0))


def tasks_have_gpus() -> bool:
    """Whether tasks with one CPU, as of a sweep, have a share of a GPU. Needs a running Ray."""
    return gpu_share(_nodes()) > 0


def gpu_share(nodes: Sequence[Mapping[str, float]]) -> float:
    """The share of a GPU that a task with one CPU reserves; 0 if any node with CPUs has no GPU.

    nodes: Ray's resources of each node. Verification, which is at least half of a sweep, needs only CPUs, so no CPU may
    stay idle because its node lacks a GPU.
    """
    return min((min(1.0, node.get("GPU", 0) / node["CPU"]) for node in nodes if node.get("CPU", 0)), default=0.0)


def memory_share(nodes: Sequence[Mapping[str, float]], memory_bytes: float) -> int:
    """The memory in bytes that a task reserves: what it needs, but not more than each node with CPUs has.

    A node then runs fewer tasks at once than it has CPUs, instead of running out of memory, and at least one.
    """
    return int(min([memory_bytes, *(node.get("memory", 0) for node in nodes if node.get("CPU", 0))]))
