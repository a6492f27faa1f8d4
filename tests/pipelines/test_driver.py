"""What the driver reports about a failed task."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

from pipelines.driver import Room, kept_on_node, room, run_on_node, run_tasks
from pipelines.runtime import start_ray
from pipelines.store.errors import StoreFailure


def work(number: int) -> int:
    if number == 1:
        raise StoreFailure("s3://bucket/x:\ntoo busy")
    return number


@pytest.mark.ray
def test_a_task_that_fails_is_told_in_one_line_without_ray_s_traceback(
    ray_session: Any, caplog: pytest.LogCaptureFixture
) -> None:
    found = []
    with pytest.raises(StoreFailure, match="too busy"):
        for _, result in run_tasks(work, [(0,), (1,), (2,)]):
            found.append(result)
    assert sorted(found) == [0, 2]
    assert [record.getMessage() for record in caplog.records] == ["work 1 failed: s3://bucket/x: too busy"]


@pytest.mark.ray
def test_a_result_may_stay_on_its_node_and_a_failure_is_told_at_once(ray_session: Any) -> None:
    assert ray_session.get(kept_on_node(work, 2, memory_bytes=10**6)) == 2
    assert run_on_node(work, 2, memory_bytes=10**15) == 2  # more than a node has, so it takes what there is
    for run in (kept_on_node, run_on_node):
        with pytest.raises(StoreFailure, match="too busy"):
            run(work, 1, memory_bytes=0)


def test_the_room_is_that_of_nodes_with_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [
        {"memory": 9e9, "object_store_memory": 9e9},  # a head that runs no tasks
        {"CPU": 64.0, "memory": 1e9, "object_store_memory": 3e9},
        {"CPU": 16.0, "memory": 5e9, "object_store_memory": 2e9},
    ]
    monkeypatch.setattr("pipelines.driver._nodes", lambda: nodes)
    assert room() == Room(memory_bytes=5e9, store_bytes=2e9)
    del nodes[1:]
    assert room() is None


@pytest.mark.ray
def test_what_ray_says_of_a_task_it_tries_again_is_not_printed(
    ray_session: Any,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would appear among rows that a verb prints as json, and after asid's last line."""
    monkeypatch.setattr(logging, "raiseExceptions", False)  # earlier tests leave handlers whose streams are closed
    start_ray()
    heard = threading.Event()
    log = logging.getLogger("pipelines.runtime")
    caplog.set_level(logging.DEBUG, log.name)
    listener = logging.Handler()
    listener.emit = lambda record: heard.set() if "retries remaining" in record.getMessage() else None  # type: ignore[method-assign]
    log.addHandler(listener)
    with pytest.raises(StoreFailure):
        list(run_tasks(work, [(1,)]))
    assert heard.wait(60)
    log.removeHandler(listener)
    told = capsys.readouterr()
    assert "Traceback" not in told.out + told.err and "retries" not in told.out + told.err
