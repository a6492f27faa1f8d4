"""Errors of locations and catalogues. Their messages are for the user."""

import re


class StorageError(OSError):
    """A URI cannot be used. The message says what to write instead."""


class StoreFailure(StorageError):
    """A request to the store failed: it is unreachable, too busy or broken."""


def redacted(text: str) -> str:
    """`text` without secrets in its URIs: user, password, and the query of a signed URL."""
    text = re.sub(r"(\w+://)[^/\s@]*@", r"\1", text)
    return re.sub(r"(https?://[^\s?]*)\?\S*", r"\1", text)


class CatalogueError(RuntimeError):
    """The catalogue is missing, damaged, or of another format or geometry. The message says what to do."""


class LeaseError(CatalogueError):
    """Another run holds the catalogue. The message says which, and until when."""
