"""Hides a meaningless line that Ray writes to standard error."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

# Ray logs this as an error for each actor that Ray Data starts (github.com/ray-project/ray/issues/57733). Its own
# setting, RAY_BACKEND_LOG_LEVEL=fatal, prints another line instead and empties the logs that explain a failure
NOISE = "has constructor arguments in the object store and max_restarts > 0"


@contextlib.contextmanager
def without_noise() -> Iterator[None]:
    """Drop lines written to file descriptor 2 that contain NOISE; `sys.stderr` bypasses the filter.

    The filter is a separate process, so that output just before a crash is still shown. Without `grep` on this machine
    nothing is dropped.
    """
    if shutil.which("grep") is None:
        yield
        return
    shown, before = os.dup(2), sys.stderr
    # in its own session, so that Ctrl-C does not end it; it ends with its input
    child = subprocess.Popen(
        ["grep", "--line-buffered", "-vF", NOISE], stdin=subprocess.PIPE, stdout=shown, start_new_session=True
    )
    assert child.stdin is not None
    with open(os.dup(shown), "w", buffering=1, encoding=before.encoding, errors=before.errors) as direct:
        sys.stderr = direct
        os.dup2(child.stdin.fileno(), 2)
        child.stdin.close()
        try:
            yield
        finally:
            sys.stderr = before
            os.dup2(shown, 2)
            os.close(shown)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(timeout=5)
