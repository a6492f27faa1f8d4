"""Error messages of workers, and the order in which Ray is shut down."""

from __future__ import annotations

import errno
import os
import threading
from typing import Any

import pyarrow as pa
import pytest
import ray
import ray.data
import torch

from pipelines import runtime
from pipelines.runtime import DATA_THREADS, assigned_device, worker_error
from tests.conftest import FOLDER


def full(_: pa.Table) -> pa.Table:
    raise OSError(errno.ENOSPC, "No space left on device")


def other(_: pa.Table) -> pa.Table:
    raise ValueError("not this")


@pytest.mark.ray
@pytest.mark.parametrize(
    ("work", "kind", "text"), [(full, OSError, "[Errno 28] No space left on device"), (other, ValueError, "not this")]
)
def test_the_error_itself_is_told(ray_session: Any, work: Any, kind: type[Exception], text: str) -> None:
    data = ray.data.from_arrow(pa.table({"a": [1]}))
    data.context.raise_original_map_exception = True
    with pytest.raises(Exception, match=text.replace("[", ".").replace("]", ".")) as caught:
        data.map_batches(work, batch_format="pyarrow").materialize()
    found = worker_error(caught.value)
    assert type(found) is kind and str(found) == text


def test_other_errors_stay_as_they_are() -> None:
    error = KeyError("x")
    assert worker_error(error) is error


@pytest.mark.ray
def test_the_threads_to_wait_for_are_those_of_an_unfinished_read(ray_session: Any) -> None:
    before = set(threading.enumerate())
    rows = iter(ray.data.range(1000, override_num_blocks=100).iter_batches(batch_size=1, prefetch_batches=0))
    next(rows)
    new = [thread for thread in threading.enumerate() if thread not in before]
    waited_for = [thread for thread in new if thread.name.startswith(DATA_THREADS)]
    assert any(thread.name.startswith(DATA_THREADS[0]) for thread in waited_for)
    del rows
    for thread in waited_for:
        thread.join(60)
    assert not any(thread.is_alive() for thread in waited_for)


@pytest.mark.parametrize(("text", "starts"), [("The current node timed out during startup.", 3), ("no disk", 1)])
def test_a_start_of_ray_that_took_too_long_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, text: str, starts: int
) -> None:
    tried: list[int] = []

    def fails(**_: Any) -> None:
        tried.append(1)
        raise Exception(text)

    monkeypatch.setattr(ray, "init", fails)
    with pytest.raises(Exception, match=text):
        runtime._init(FOLDER, {})
    assert len(tried) == starts


@pytest.mark.ray
def test_a_process_that_uses_a_ray_keeps_its_token(ray_session: Any) -> None:
    """With another one, the next call of any thread would end the process with code 1 and without a message."""
    environment = dict(os.environ)
    with pytest.raises(RuntimeError, match="already"):
        runtime.start_local()
    assert dict(os.environ) == environment and ray.nodes()


@pytest.mark.parametrize(("assigned", "device"), [([], "cpu"), (["0"], "cuda")])
def test_a_task_uses_a_gpu_only_if_ray_assigned_it_one(
    assigned: list[str], device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "get_gpu_ids", lambda: assigned)
    assert assigned_device() == device
