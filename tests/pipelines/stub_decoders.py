"""Decoders that misbehave as the file name says, passed to `IsolatedDecoder` as `module:function`."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from asid_core.signal.decode import AudioInfo, open_native
from pipelines.ingest.file_tags import Tags


@contextlib.contextmanager
def by_name(path: str) -> Iterator[tuple[AudioInfo, Iterator[np.ndarray]]]:
    name = Path(path).name
    if name.startswith("slow-start"):
        threading.Event().wait()
    if name.startswith("worker"):
        os.kill(os.getppid(), signal.SIGKILL)
    if name.startswith("ordinary"):
        with open_native(path) as opened:
            yield opened
    elif name.startswith("long"):  # 10 h at 16 kHz
        yield AudioInfo(16_000, 1, 36_000.0), (noise(16_000) for _ in range(36_000))
    elif name.startswith("no length"):
        yield AudioInfo(16_000, 1, None), (noise(16_000) for _ in range(100))
    else:
        yield AudioInfo(16_000, 1, 60.0), _broken(name)


def noise(samples: int) -> np.ndarray:
    return np.full(samples, 0.25, np.float32)


def _broken(name: str) -> Iterator[np.ndarray]:
    yield noise(1 << 16)
    if name.startswith("crash"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if name.startswith("exit"):
        os._exit(3)
    if name.startswith("hang"):
        threading.Event().wait()
    if name.startswith("memory"):
        np.ones(1 << 40, np.uint8)
    if name.startswith("raise"):
        raise ZeroDivisionError("oops")
    yield noise(1000)


@contextlib.contextmanager
def tags_by_name(path: str) -> Iterator[tuple[Tags, Iterator[np.ndarray]]]:
    name = Path(path).name
    if name.startswith("crash"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if name.startswith("hang"):
        threading.Event().wait()
    if name.startswith("raise"):
        raise ValueError("a bug of the tag reader")
    yield Tags("A title"), iter(())
