"""What kind of error a verb met. Nothing heavy is imported before it is asked."""

from __future__ import annotations

import sys


def unwrapped(error: Exception) -> Exception:
    """The error raised inside a Ray worker, if `error` wraps one; otherwise `error` itself."""
    if "ray" not in sys.modules:
        return error
    from pipelines.runtime import worker_error

    return worker_error(error)


def is_storage_error(error: Exception) -> bool:
    """Whether a disk or an object store failed (full, gone, too busy). Arrow and Lance raise plain OSError for this."""
    from pipelines.store.errors import StoreFailure

    return isinstance(error, StoreFailure) or type(error) is OSError


def is_expected(error: Exception) -> bool:
    """Whether the user can act on this error. The imports are local because these modules load heavy libraries."""
    from asid_core.signal.decode import DecodeError
    from pipelines.store.catalogue import CatalogueError

    return isinstance(error, DecodeError | CatalogueError | OSError)
