"""Log records as JSON, one object per line, for programs that collect logs."""

from __future__ import annotations

import datetime
import json
import logging


class JsonLines(logging.Formatter):
    """Formats a record as `{"time", "level", "logger", "message"}`, with `traceback` or `progress` where it has one.

    time: UTC, ISO 8601 with milliseconds. progress: what a record has as `extra={"progress": event}`, an event of a
    `ProgressCallback`.
    """

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.datetime.fromtimestamp(record.created, datetime.timezone.utc)
        line = {
            "time": time.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        if progress := getattr(record, "progress", None):
            line["progress"] = progress
        return json.dumps(line, ensure_ascii=False, default=str)
