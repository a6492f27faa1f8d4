"""Decoding in a child process, because a broken file may crash or hang a decoder, which no `except` can catch.

One child serves one Ray worker for as long as both live, because starting a process takes longer than reading a file.
The child decodes at the file's own sample rate and never imports torch; the caller resamples.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from asid_core.signal.decode import AudioInfo, Blocks, DecodeError

READER = "asid_core.signal.decode:open_native"
START_TIMEOUT_S = 120.0
MESSAGE_SAMPLES = 1 << 16  # small blocks are joined, because each message costs some 50 us
MEMORY_BYTES = 4 << 30  # address space; a decoder needs 0.5 GB


@dataclass(frozen=True)
class Ended:
    """The child's last message about a file."""

    missing_s: float  # length of the audio that could not be decoded


class IsolatedDecoder:
    """`open_native` in a child process, with the same contract.

    timeout_s: kill the child if it sends nothing for this long. reader: `module:function`, replaced in tests.
    """

    def __init__(self, timeout_s: float, reader: str = READER) -> None:
        self._timeout_s = timeout_s
        self._reader = reader
        self._child: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None
        self._busy = False  # whether the child has not yet sent all of the last file

    @contextlib.contextmanager
    def open(self, path: str) -> Iterator[tuple[AudioInfo, Blocks]]:
        """The header, and mono float32 blocks [n_i] at the file's rate; the generator returns the missing seconds.

        Raises DecodeError, also while iterating, and also if the child crashes, hangs or needs too much memory.
        Raises RuntimeError if the child does not start, which is not the file's fault.
        """
        self._request(path)
        self._busy = True
        try:
            yield self._receive(), self._blocks()
        finally:
            if self._busy:  # the caller stopped early, and the child is still sending
                self.close()

    def _blocks(self) -> Blocks:
        while not isinstance(received := self._receive(), Ended):
            yield received
        return received.missing_s

    def close(self) -> None:
        """End the child. The next `open` starts a new one."""
        if self._pipe is not None:
            self._pipe.close()
        if self._child is not None:
            self._child.kill()
            self._child.wait()
        self._child = self._pipe = None
        self._busy = False

    def _start(self) -> Connection:
        ours, theirs = socket.socketpair()
        with theirs:
            arguments = f"{theirs.fileno()}, {self._reader!r}, {self._timeout_s}"
            command = f"from pipelines.ingest.decoding import serve; serve({arguments})"
            self._child = subprocess.Popen(
                [sys.executable, "-c", command],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OMP_NUM_THREADS": "1"},
            )
        self._pipe = pipe = Connection(ours.detach())
        try:
            if pipe.poll(START_TIMEOUT_S) and pipe.recv() == "ready":
                return pipe
        except (EOFError, OSError):
            pass
        self.close()
        raise RuntimeError("the decoder process did not start; see its error above or in the Ray worker's log")

    def _request(self, path: str) -> None:
        if self._pipe is not None:
            try:
                self._pipe.send(path)
                return
            except OSError:  # the child died after its last file
                self.close()
        self._start().send(path)

    def _receive(self) -> Any:
        assert self._pipe is not None and self._child is not None
        try:
            if not self._pipe.poll(self._timeout_s):
                self.close()
                raise DecodeError("decoder_hung", f"the decoder hung: no progress for {self._timeout_s:g} s")
            message = self._pipe.recv()
        except (EOFError, ConnectionError):
            code = self._child.wait()
            self.close()
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            raise DecodeError("decoder_crashed", f"the decoder crashed ({how})") from None
        self._busy = not isinstance(message, Ended | DecodeError)
        if isinstance(message, DecodeError):
            raise message
        return message


def serve(descriptor: int, reader: str, timeout_s: float) -> None:
    """The child's main loop: for each path received, send an AudioInfo, blocks, and Ended; or a DecodeError."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver handles Ctrl-C
    module, _, function = reader.partition(":")
    open_native = getattr(importlib.import_module(module), function)
    pipe = Connection(descriptor)
    pipe.send("ready")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libmpg123 complains about every odd byte
    with contextlib.suppress(EOFError, ConnectionError):  # the worker is gone
        while True:
            path = pipe.recv()
            try:
                _serve_one(pipe, path, open_native, 2 * timeout_s + 1)
            except DecodeError as error:
                pipe.send(error)
            except MemoryError:
                pipe.send(DecodeError("decoder_memory", f"decoding needs more than {MEMORY_BYTES >> 30} GiB of memory"))
            except (EOFError, ConnectionError):
                raise
            except Exception as error:
                pipe.send(DecodeError("decoder_failed", f"the decoder failed: {type(error).__name__}: {error}"))


def _serve_one(pipe: Connection, path: str, open_native: Any, alarm_s: float) -> None:
    # If the worker dies while a decoder hangs, SIGALRM ends this process, even inside C code.
    signal.setitimer(signal.ITIMER_REAL, alarm_s)
    missing_s = 0.0
    try:
        with open_native(path) as (info, blocks):
            pieces: list[np.ndarray] = []
            waiting: Any = info
            while True:
                if waiting is not None:
                    signal.setitimer(signal.ITIMER_REAL, 0)  # a slow receiver does not count as a hang
                    pipe.send(waiting)
                    signal.setitimer(signal.ITIMER_REAL, alarm_s)
                    waiting = None
                try:
                    block = next(blocks)
                except StopIteration as end:
                    block, missing_s = None, end.value or missing_s  # a finished generator returns its value only once
                if block is not None:
                    pieces.append(block)
                if pieces and (block is None or sum(map(len, pieces)) >= MESSAGE_SAMPLES):
                    waiting, pieces = np.concatenate(pieces), []
                elif block is None:
                    break
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    pipe.send(Ended(missing_s))
