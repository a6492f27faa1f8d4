"""Measures the time of a step, and the peak memory of this process, alone and with its children."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psutil

LEAST_S = 4.0  # shortest time to measure a rate


@dataclass(frozen=True)
class Step:
    """A measured step. Memory: the peak in GB, of this process and of all its children with it."""

    name: str
    seconds: float
    driver_gb: float
    all_gb: float
    said: str


@dataclass
class Meter:
    """The measured steps."""

    steps: list[Step] = field(default_factory=list)

    def measure(self, name: str, work: Callable[[], Any]) -> Any:
        ended, peak = threading.Event(), [0.0, 0.0]

        def watch() -> None:
            while True:
                peak[:] = map(max, peak, (psutil.Process().memory_full_info().uss / 1e9, memory_gb()))
                if ended.wait(0.5):
                    return

        thread = threading.Thread(target=watch, daemon=True)
        started = time.monotonic()
        thread.start()
        result = work()
        ended.set()
        thread.join()
        self.steps.append(Step(name, time.monotonic() - started, peak[0], peak[1], " ".join(str(result or "").split())))
        print(self.steps[-1], flush=True)
        return result


def memory_gb() -> float:
    """PSS in GB of this process and all its children."""
    total = 0
    me = psutil.Process()
    for process in [me, *me.children(recursive=True)]:
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return total / 1e9


def rate(work: Callable[[], object]) -> float:
    """Calls per second, from the fastest of several calls after one to warm up, as the machine may be busy."""
    work()
    best, started = float("inf"), time.perf_counter()
    while time.perf_counter() - started < LEAST_S:
        at = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - at)
    return 1 / best
