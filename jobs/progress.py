"""Progress on standard error: one line, redrawn in place, on a terminal; a new line every 10 s elsewhere."""

from __future__ import annotations

import time
from typing import Any, TextIO

PLAIN_EVERY_S = 10.0
BAR_EVERY_S = 0.2
BAR_CELLS = 24


def clock(seconds: float) -> str:
    """Format a duration as `m:ss`, or as `h:mm:ss` from one hour on."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Progress:
    """A callback for pipelines: `progress({"stage": "embed", "done": 12, "total": 145, "audio_s": 1800.0})`.

    `total` and `audio_s` may be missing. Throughput and time remaining count from the first event of a stage, so that
    the work of an earlier run does not inflate them.
    """

    def __init__(self, stream: TextIO, *, quiet: bool = False) -> None:
        self.stream = stream
        self.quiet = quiet
        self.terminal = stream.isatty()
        self.stage = ""
        self.started = self.shown = 0.0
        self.first: dict[str, Any] = {}
        self.drawn = False

    def __call__(self, event: dict[str, Any]) -> None:
        now = time.monotonic()
        if event.get("stage", "") != self.stage:
            self.close()
            self.stage, self.started, self.first, self.shown = event.get("stage", ""), now, dict(event), 0.0
        finished = event.get("total") is not None and event.get("done") == event["total"]
        wait = BAR_EVERY_S if self.terminal else PLAIN_EVERY_S
        if self.quiet or (now - self.shown < wait and not finished):
            return
        self.shown = now
        text = self._line(event, now - self.started)
        self.stream.write(f"\r\x1b[K{text}" if self.terminal else text + "\n")
        self.stream.flush()
        self.drawn = self.terminal

    def close(self) -> None:
        """End the current line on a terminal."""
        if self.drawn:
            self.stream.write("\n")
            self.stream.flush()
        self.drawn = False

    def _line(self, event: dict[str, Any], elapsed_s: float) -> str:
        done, total, audio_s = event.get("done", 0), event.get("total"), event.get("audio_s")
        parts = [self.stage]
        if total:
            filled = BAR_CELLS * done // total
            if self.terminal:
                parts.append("[" + "#" * filled + "." * (BAR_CELLS - filled) + "]")
            parts.append(f"{done}/{total} {event.get('unit', 'tracks')}")
        else:
            parts.append(f"{done} {event.get('unit', 'tracks')}")
        if audio_s:
            parts.append(f"{audio_s / 3600:.2f} h audio")
            if elapsed_s > 0.5:
                parts.append(f"{(audio_s - (self.first.get('audio_s') or 0)) / elapsed_s:,.0f} h/h")
        worked = done - self.first.get("done", 0)
        if total and worked > 0 and done < total:
            parts.append(f"{clock(elapsed_s / worked * (total - done))} left")
        return "  ".join(parts)
