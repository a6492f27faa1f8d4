"""Measures the time of a step, and the peak memory of this process and its children."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psutil

LEAST_S = 4.0  # shortest time to measure a rate


@dataclass
class Meter:
    """The measured steps: name, seconds, peak memory in GB, and result as text."""

    steps: list[tuple[str, float, float, str]] = field(default_factory=list)

    def measure(self, name: str, work: Callable[[], Any]) -> Any:
        ended, peak = threading.Event(), [0.0]

        def watch() -> None:
            while True:
                peak[0] = max(peak[0], memory_gb())
                if ended.wait(2.0):
                    return

        thread = threading.Thread(target=watch, daemon=True)
        started = time.monotonic()
        thread.start()
        result = work()
        ended.set()
        thread.join()
        self.steps.append((name, time.monotonic() - started, peak[0], " ".join(str(result or "").split())))
        print(*self.steps[-1], flush=True)
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
