from __future__ import annotations

import pytest

from asid_core.plain_text import shown, spreadsheet_row, spreadsheet_text


@pytest.mark.parametrize("text", ["=cmd|' /C calc'!A0", "@SUM(A1)", "-2+3", "+1", "\t=1", "  =1", "\r=1", "＝1+1"])
def test_formulas_become_text(text: str) -> None:
    assert spreadsheet_text(text) == "'" + text


def test_other_texts_and_numbers_stay() -> None:
    row = {"title": "A-ha = +", "dash": "-", "pitch": -2.5, "year": None, "id": "música/夜.flac"}
    assert spreadsheet_row(row) == row


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a\u202egpj.wav", "a\\u202egpj.wav"),
        ("a\u200bb", "a\\u200bb"),
        ("\ufeffx", "\\ufeffx"),
        ("a\x1b[0m", "a\\x1b[0m"),
        ("\u2066x\u2069", "\\u2066x\\u2069"),
        ("a\nb", "a\\x0ab"),
        ("caf\udce9", "caf\\udce9"),
        ("Ünï 夜 🎵", "Ünï 夜 🎵"),
    ],
)
def test_what_is_invisible_is_shown(text: str, escaped: str) -> None:
    assert shown(text) == escaped
