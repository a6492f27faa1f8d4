"""Runs a verb of asid in its own process, which stops at every progress event until the test lets it continue.

A test can then break something at a known point of the work, without sleeping. The verb runs unchanged; only its
progress callback is replaced.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MARK = "@event "


@dataclass(frozen=True)
class Ended:
    """The end of a process: exit code (negative: a signal), output, and whether the test interfered."""

    code: int
    text: str
    struck: bool

    @property
    def summary(self) -> str:
        """The last line of the output."""
        return self.text.strip().splitlines()[-1] if self.text.strip() else ""


class Handshake:
    """Replaces jobs.progress.Progress."""

    def __init__(self, stream: Any, *, quiet: bool = False) -> None:
        pass

    def __call__(self, event: dict[str, Any]) -> None:
        print(MARK + json.dumps(event), flush=True)
        sys.stdin.readline()

    def close(self) -> None:
        pass


def asid(
    *argv: str,
    strike: Callable[[subprocess.Popen[str]], None] | None = None,
    when: Callable[[dict[str, Any]], bool] = lambda event: True,
    env: dict[str, str] | None = None,
) -> Ended:
    """Run `asid *argv` until it ends. `strike` is called once, at the first event for which `when` is true."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.driver", *argv],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
    )
    assert process.stdin is not None and process.stdout is not None
    lines, struck = [], False
    for line in process.stdout:
        at = line.find(MARK)
        if at < 0:
            lines.append(line)
            continue
        if strike is not None and not struck and when(json.loads(line[at + len(MARK) :])):
            struck = True
            strike(process)
        if process.poll() is None:
            print("go on", file=process.stdin, flush=True)
    return Ended(process.wait(), "".join(lines), struck)


def main() -> int:
    from jobs import cli, command

    command.Progress = Handshake  # type: ignore[misc, assignment]
    return cli.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
