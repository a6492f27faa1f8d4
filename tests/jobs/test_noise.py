"""Known noise of Ray is dropped, other output is shown, and Python's own lines stay in order."""

import subprocess
import sys

WRITES = """
import os, sys
from jobs.noise import NOISE, without_noise
with without_noise():
    print("ours", file=sys.stderr)
    for text in (NOISE, "other"):
        os.write(2, f"[E] {text} of 7\\n".encode())
    print(sys.stderr.isatty(), file=sys.stderr)
    if len(sys.argv) > 1:
        os.write(2, b"last words\\n")
        os.abort()
os.write(2, b"after\\n")
"""


def said(*arguments: str) -> tuple[int, list[str]]:
    done = subprocess.run([sys.executable, "-c", WRITES, *arguments], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stderr.splitlines()


def test_noise_is_dropped_and_nothing_else() -> None:
    code, lines = said()
    assert code == 0 and lines[-1] == "after"
    assert sorted(lines[:-1]) == ["False", "[E] other of 7", "ours"]


def test_output_just_before_a_crash_is_shown() -> None:
    code, lines = said("crash")
    assert code < 0 and "last words" in lines
