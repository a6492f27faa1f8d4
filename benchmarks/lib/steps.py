"""Runs the steps of a measurement on a GPU, each with its own limit: one that fails is printed and the rest go on."""

from __future__ import annotations

import signal
import statistics
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Said(NamedTuple):
    """What a step found: as plain figures, and as Markdown."""

    figures: Any
    text: str


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Raises TimeoutError in the main thread after `seconds`."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def attempt(name: str, seconds: int, step: Callable[[], Said]) -> dict[str, Any]:
    """What `step` found, printed, or its traceback."""
    print(f"\n== {name}", flush=True)
    started = time.perf_counter()
    found: dict[str, Any] = {}
    try:
        with limited(seconds):
            said = step()
        print(said.text)
        found = {"figures": said.figures, "text": said.text}
    except Exception:
        found = {"error": traceback.format_exc()}
        print(found["error"])
    found["seconds"] = round(time.perf_counter() - started, 2)
    print(f"({found['seconds']} s)", flush=True)
    return found


def median_s(call: Callable[[], Any], device: torch.device, times: int, warm_up: int = 2) -> float:
    """Median time of a call in seconds, by the clock of the GPU."""
    for _ in range(warm_up):
        call()
    return statistics.median(_once_s(call, device) for _ in range(times))


def _once_s(call: Callable[[], Any], device: torch.device) -> float:
    if device.type != "cuda":
        started = time.perf_counter()
        call()
        return time.perf_counter() - started
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    first.record()
    call()
    last.record()
    last.synchronize()
    return float(first.elapsed_time(last)) / 1000


def wait(device: torch.device) -> None:
    """Until the GPU has done all that it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def unit(*shape: int, device: torch.device) -> Tensor:
    """Random unit vectors, made on the device."""
    return torch.nn.functional.normalize(torch.randn(*shape, device=device), dim=-1)


def table(head: str, lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table. head: the titles of its columns, separated by bars."""
    columns = head.count("|") + 1
    rows = [f"| {head} |", "|" + "---|" * columns] + [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join(rows)
