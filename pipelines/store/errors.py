"""What can go wrong with a place or a catalogue, in words for its user."""

import re


class StorageError(OSError):
    """A URI that cannot be used; the message says what to write instead."""


class StoreFailure(StorageError):
    """The store did not do what it was asked for: not reached, too busy, or out of order."""


def redacted(text: str) -> str:
    """`text` without what may be secret in the URIs in it: user and password, and the query of a signed URL."""
    text = re.sub(r"(\w+://)[^/\s@]*@", r"\1", text)
    return re.sub(r"(https?://[^\s?]*)\?\S*", r"\1", text)


class CatalogueError(RuntimeError):
    """The catalogue is missing, of another format, or cut otherwise; the message says what to do."""


class LeaseError(CatalogueError):
    """Another run has the catalogue; the message says who and until when."""
