"""Ctrl-C and SIGTERM: stop cleanly, keep what is committed, and make sure that the process ends."""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

from jobs import logs
from pipelines.json_log import JsonLines

SAY_S = 1.0  # longest wait for the last words of the thread that watches for signals
GRACE_S = 25.0  # after SIGTERM: Kubernetes kills after 30
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """Raised in the main thread by the first signal."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number  # the shells' convention


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """In this block, the first SIGINT or SIGTERM raises Stopped, and a second one ends the process at once.

    After SIGTERM the process also ends once the grace period is over. A thread enforces both, because the main thread
    may be blocked in a library call, and Python runs signal handlers only when that call returns. Has no effect outside
    the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    read, write = socket.socketpair()
    write.setblocking(False)
    before = {number: signal.signal(number, _raise_once()) for number in SIGNALS}
    unraisable = sys.unraisablehook
    wakeup = signal.set_wakeup_fd(write.fileno(), warn_on_full_buffer=False)
    watcher = threading.Thread(target=_watch, args=(read,), name="asid-signals", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        sys.unraisablehook = unraisable
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        write.close()  # ends the thread
        watcher.join(SAY_S)  # a block that ends at once must not cut off what it has to say


def _raise_once() -> Callable[[int, FrameType | None], None]:
    raised = False

    def handler(number: int, frame: FrameType | None) -> None:
        nonlocal raised
        if not raised:
            raised = True
            # Stopped may interrupt a constructor; the destructor of the half-built object then fails, as that of
            # a Ray actor handle does
            sys.unraisablehook = lambda _: None
            raise Stopped(number)

    return handler


def _watch(signals: socket.socket) -> None:
    """Wait for the first signal, then for a second one or the end of the grace period."""
    with signals:
        first = _next(signals, None)
        if first is None:
            return
        _say("stopping cleanly; press Ctrl-C again to stop at once")
        second = _next(signals, GRACE_S if first == signal.SIGTERM else None)
        if second is not None:
            _end_at_once(128 + (second or first))


def _next(signals: socket.socket, seconds: float | None) -> int | None:
    """The next signal of SIGNALS; None if the block has ended, 0 if `seconds` have passed."""
    signals.settimeout(seconds)
    while True:
        try:
            number = signals.recv(1)
        except TimeoutError:
            return 0
        if not number:
            return None
        if number[0] in SIGNALS:
            return number[0]


def _say(text: str) -> None:
    """Print a line to standard error. Bypasses Python's streams, whose locks the main thread may hold."""
    line = f"{chr(10) if os.isatty(2) else ''}asid: {text}"
    if logs.are_json():
        about = {"name": __name__, "levelno": logging.WARNING, "levelname": "WARNING", "msg": f"asid: {text}"}
        line = JsonLines().format(logging.makeLogRecord(about))
    os.write(2, f"{line}\n".encode())


def _end_at_once(code: int) -> None:
    """End this process and its Ray without waiting for anything. The next run cleans up."""
    _say("stopped at once; committed work is kept")
    runtime = sys.modules.get("pipelines.runtime")
    if runtime is not None:
        runtime.kill_ray()
    os._exit(code)


def how_to_resume(verb: str, catalogue: str | None, argv: Sequence[str]) -> str:
    """The message after a run was stopped: what the catalogue holds, and the command that resumes the run."""
    lines = [f"asid {verb}: stopped."]
    if catalogue:
        lines.append(f"Committed to {catalogue}: {committed(catalogue)}.")
    return "\n".join([*lines, f"To resume: {shlex.join(['asid', verb, *argv])}"])


def committed(uri: str) -> str:
    """What a catalogue holds, in one line. Reads rows of the tracks table only, so it is fast."""
    import pyarrow.compute as pc

    from pipelines.store import detections, fingerprints
    from pipelines.store.catalogue import Catalogue, CatalogueError

    try:
        catalogue = Catalogue(uri)
    except CatalogueError:
        return "nothing yet"
    audio_s = sum(pc.sum(batch.column(0)).as_py() or 0.0 for batch in catalogue.tracks(columns=["duration_s"]))
    parts = [f"{catalogue.count_tracks():,} tracks ({audio_s / 3600:.2f} h audio)"]
    for name in fingerprints.tables(catalogue):
        table = catalogue.table(name)
        rows = 0 if table is None else table.count_rows()
        parts.append(f"{rows:,} fingerprints (model {name.removeprefix(fingerprints.PREFIX)})")
    finished = [head["sweep_id"] for head in detections.sweeps(catalogue)]
    parts += [f"{len(finished):,} finished sweep{'s' if len(finished) > 1 else ''}"] if finished else []
    unfinished = [sweep_id for sweep_id in detections.ids(catalogue) if sweep_id not in finished]
    parts += [f"{len(detections.parts(catalogue, sweep_id)):,} parts of sweep {sweep_id}" for sweep_id in unfinished]
    return ", ".join(parts)
