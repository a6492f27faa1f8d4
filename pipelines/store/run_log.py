"""The log of a run, kept in its catalogue, where it outlives the machine or cluster of the run."""

from __future__ import annotations

import collections
import logging
import threading
import time
from types import TracebackType

from pipelines.json_log import JsonLines
from pipelines.store.location import Location

LINES = 10_000  # the last ones are kept: a store cannot append, so the whole file is written each time
WRITE_EVERY_S = 60.0  # what a killed run loses of its log
KEPT_DAYS = 90


class RunLog(logging.Handler):
    """In the block `with RunLog(file):`, keeps what this process logs and writes it to `file`, as JSON lines.

    The file is written every `seconds` while there is something new, and when the block ends; a block that ends sooner
    without a warning or an error leaves no file. A log that cannot be written does not stop a run.
    """

    def __init__(self, file: Location, seconds: float = WRITE_EVERY_S) -> None:
        super().__init__()
        self.setFormatter(JsonLines())
        self._file, self._seconds = file, seconds
        self._lines: collections.deque[str] = collections.deque(maxlen=LINES)
        self._is_new, self._matters = False, False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep_writing, name="asid-run-log", daemon=True)

    def __enter__(self) -> RunLog:
        root = logging.getLogger()
        self._is_alone = not root.handlers
        root.addHandler(self)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            about = {"name": __name__, "levelno": logging.ERROR, "levelname": "ERROR", "msg": f"ended by {error!r}"}
            self._keep(logging.makeLogRecord(about))
        logging.getLogger().removeHandler(self)
        self._ended.set()
        self._thread.join(self._seconds)  # the store may not answer

    def emit(self, record: logging.LogRecord) -> None:
        self._keep(record)
        # with a handler, Python no longer prints warnings of programs that set up no logging
        if self._is_alone and logging.lastResort is not None and record.levelno >= logging.lastResort.level:
            logging.lastResort.handle(record)

    def _keep(self, record: logging.LogRecord) -> None:
        self._lines.append(self.format(record))
        self._is_new = True
        self._matters |= record.levelno >= logging.WARNING

    def _keep_writing(self) -> None:
        ended = False
        while not ended:
            ended = self._ended.wait(self._seconds)
            self._matters |= not ended
            if self._is_new and self._matters:
                self._write()

    def _write(self) -> None:
        self.acquire()  # `handle` holds it while a record comes in
        text, self._is_new = "".join(f"{line}\n" for line in self._lines), False
        self.release()
        try:
            self._file.write_bytes(text.encode())
        except OSError:
            self._is_new = True  # next time


def delete_old(place: Location) -> int:
    """Delete the logs in the folder `runs` of a catalogue that are older than KEPT_DAYS; returns their number."""
    folder = place.join("runs")
    before = time.strftime("%Y%m%d", time.gmtime(time.time() - KEPT_DAYS * 86_400))
    old = [e.name for e in folder.list() if e.kind == "file" and e.name.endswith(".log") and e.name < before]
    for name in old:
        folder.join(name).delete()
    return len(old)
