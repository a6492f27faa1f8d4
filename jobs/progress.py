"""Progress on standard error, by tqdm: one bar per stage on a terminal, otherwise a line every 10 s."""

from __future__ import annotations

from typing import Any, TextIO

from tqdm import tqdm

LINE_EVERY_S = 10.0
BAR_EVERY_S = 0.2
COLUMNS = 100  # of a line that goes into a log


class _Lines:
    """A stream for tqdm without a terminal: each update is written on a line of its own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last = ""
        self.encoding = getattr(stream, "encoding", None)

    def write(self, text: str) -> None:
        line = text.strip("\r\n ")
        if line and line != self._last:
            self._stream.write(line + "\n")
            self._last = line

    def flush(self) -> None:
        self._stream.flush()


class Progress:
    """A callback for pipelines: `progress({"stage": "embed", "done": 12, "total": 145, "audio_s": 1800.0})`.

    `total` and `audio_s` may be missing. Speed and time remaining count only the work of this run. The first event of a
    stage states what earlier runs had done.
    """

    def __init__(self, stream: TextIO, *, quiet: bool = False) -> None:
        self._stream = stream
        self._quiet = quiet
        self._stage: str | None = None
        self._bar: Any = None

    def __call__(self, event: dict[str, Any]) -> None:
        done, total = event.get("done", 0), event.get("total")
        if event.get("stage", "") != self._stage:
            self.close()
            self._begin(event)
        if self._bar is None:
            return
        if audio_s := event.get("audio_s"):
            self._bar.set_postfix_str(f"{audio_s / 3600:.2f} h audio", refresh=False)
        self._bar.total = total
        if total is not None and done >= total:
            self._bar.n = done  # drawn once, by the end
            self._end()
        else:
            self._bar.update(done - self._bar.n)

    def _begin(self, event: dict[str, Any]) -> None:
        self._stage = event.get("stage", "")
        at_terminal = self._stream.isatty()
        self._bar = tqdm(
            desc=self._stage,
            total=event.get("total"),
            initial=event.get("done", 0),
            unit=" " + event.get("unit", "tracks"),
            file=self._stream if at_terminal else _Lines(self._stream),
            disable=self._quiet,
            mininterval=BAR_EVERY_S if at_terminal else LINE_EVERY_S,
            miniters=0,
            smoothing=0,
            dynamic_ncols=at_terminal,
            ncols=None if at_terminal else COLUMNS,
        )

    def _end(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._bar = None

    def close(self) -> None:
        """End the line of the stage."""
        self._end()
        self._stage = None
