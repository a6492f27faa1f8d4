"""Where the log and the messages of a verb go: standard error, as text or as JSON."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from typing import Any

from jobs.progress import LINE_EVERY_S
from pipelines.json_log import JsonLines

log = logging.getLogger(__name__)

PACKAGES = ("asid_core", "pipelines", "jobs")  # other libraries' records appear from WARNING on


def options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info")
    group.add_argument(
        "--log-format", choices=("text", "json"), default="text", help="json: one object per line on standard error"
    )
    group.add_argument("-q", "--quiet", action="store_true", help="show warnings only, no progress")


def set_up(args: argparse.Namespace) -> None:
    """Send the log to standard error, in the level and format that `options` chose."""
    level = "WARNING" if args.quiet else args.log_level.upper()
    handler = logging.StreamHandler(sys.stderr)
    as_text = logging.Formatter("%(asctime)s %(name)s: %(message)s")
    handler.setFormatter(JsonLines() if args.log_format == "json" else as_text)
    logging.basicConfig(level="WARNING", handlers=[handler], force=True)
    for package in PACKAGES:
        logging.getLogger(package).setLevel(level)


def are_json() -> bool:
    """Whether `set_up` chose JSON."""
    return any(isinstance(handler.formatter, JsonLines) for handler in logging.getLogger().handlers)


def tell(text: str, level: int = logging.INFO) -> None:
    """A message for the user on standard error: bare text, or a record where the log is JSON."""
    if are_json():
        log.log(level, "%s", text)
    else:
        print(text, file=sys.stderr, flush=True)


class JsonProgress:
    """Stands in for `Progress` where the log is JSON: a record at the beginning and end of a stage, and every 10 s."""

    def __init__(self) -> None:
        self._stage, self._told = "", 0.0

    def __call__(self, event: dict[str, Any]) -> None:
        stage, done, total = event.get("stage", ""), event.get("done", 0), event.get("total")
        is_due = stage != self._stage or done == total or time.monotonic() - self._told >= LINE_EVERY_S
        if is_due:
            self._stage, self._told = stage, time.monotonic()
            of = "" if total is None else f" of {total}"
            log.info("%s: %s%s %s", stage, done, of, event.get("unit", "tracks"), extra={"progress": event})

    def close(self) -> None:
        """Nothing is open between two records."""
