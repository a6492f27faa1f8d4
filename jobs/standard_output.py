"""Standard output that another program reads, such as `head`, and stops reading."""

from __future__ import annotations

import io
import os
import select
import sys


def reader_is_gone() -> bool:
    """Whether the reader of standard output has exited. If so, later output is discarded."""
    try:
        sys.stdout.flush()
        pipe = select.poll()
        pipe.register(sys.stdout.fileno(), 0)
        gone = any(event & select.POLLERR for _, event in pipe.poll(0))  # unbuffered, there is nothing to flush
    except BrokenPipeError:
        gone = True
    except io.UnsupportedOperation:  # not a file, as in tests
        return False
    if gone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return gone
