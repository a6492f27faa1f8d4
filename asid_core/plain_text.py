"""Makes untrusted names and titles safe to show: control, invisible and bidirectional characters are escaped."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

# first characters that make a spreadsheet treat a text as a formula (OWASP, "CSV injection")
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
HIDDEN = ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp")


def control_shown(text: str) -> str:
    """The text with control characters and invalid UTF-8 escaped. Unchanged if it may be stored in a table."""
    text = text.encode("utf-8", "backslashreplace").decode()
    return "".join(f"\\x{ord(c):02x}" if unicodedata.category(c) == "Cc" else c for c in text)


def shown(text: str) -> str:
    """The text with invisible characters escaped: control, bidirectional and zero-width ones."""
    return "".join(_escaped(c) if unicodedata.category(c) in HIDDEN or c == "\u115f" else c for c in text)


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def spreadsheet_text(text: str) -> str:
    """The text, prefixed by an apostrophe if a spreadsheet would treat it as a formula."""
    return f"'{text}" if len(text) > 1 and text.lstrip(" ").startswith(FORMULA_STARTS) else text


def spreadsheet_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row for a CSV file, with `spreadsheet_text` applied to its texts. Numbers are unchanged."""
    return {key: spreadsheet_text(value) if isinstance(value, str) else value for key, value in row.items()}
