"""What recordings share: `identify(query_path, reference_path)` compares two files, and needs no catalogue."""

import importlib
from typing import Any

__all__ = ["Detection", "TwoFiles", "identify"]
HOMES = {"Detection": "detection", "TwoFiles": "two_files", "identify": "two_files"}


def __getattr__(name: str) -> Any:
    """Imported when first asked for: the rest of asid must not wait for torch."""
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.matching.{HOMES[name]}"), name)
