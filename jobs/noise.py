"""Keeps from the user what C libraries write to standard error and what means nothing."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

NOISE = (
    # Ray, as an error, for each actor that Ray Data itself starts (github.com/ray-project/ray/issues/57733)
    "has constructor arguments in the object store and max_restarts > 0",
    # libmpg123, of frames that it then decodes; a file that cannot be read is an error of ours, with its name
    "too large for available bit count",
)


@contextlib.contextmanager
def without_noise() -> Iterator[None]:
    """Lines of NOISE that reach file 2 are dropped, all others pass at once; `sys.stderr` goes past the filter.

    The filter is a process: last words are shown even when this one crashes. Without a grep nothing is dropped.
    """
    if shutil.which("grep") is None:
        yield
        return
    shown, before = os.dup(2), sys.stderr
    patterns = [word for text in NOISE for word in ("-e", text)]
    # a session of its own: Ctrl-C is not for it, it ends with its input
    child = subprocess.Popen(
        ["grep", "--line-buffered", "-vF", *patterns], stdin=subprocess.PIPE, stdout=shown, start_new_session=True
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
