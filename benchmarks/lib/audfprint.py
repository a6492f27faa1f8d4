"""Runs audfprint (https://github.com/dpwe/audfprint) on a benchmark as an external program, if it is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from asid_core.evaluation.truth import track_name
from asid_core.schema import DETECTIONS

PROGRAMS = ("audfprint", "audfprint.py")
SHIFTS, MAX_MATCHES = 4, 20  # subframe shifts of a fingerprint; matches per query
# Matched queries/q0001.flac 30.1 sec 2210 raw hashes as references/a.flac at   12.3 s with    45 of    60 common ...
MATCH = re.compile(
    r"^Matched (?P<query>.+?) [\d.]+ sec \d+ raw hashes as (?P<reference>.+?) at +\S+ s with +(?P<n>\d+) of"
)
CHANCE_HASHES = 10.0  # hashes that unrelated music may share; only scales scores, and does not change their order


def program() -> str | None:
    """Path of the audfprint program, or None."""
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


def detections(program: str, bench: Path, folder: Path) -> pa.Table:
    """Fingerprint `bench`/references and match `bench`/queries; returns rows of schema.DETECTIONS without spans.

    program: path of audfprint. folder: for its database. Raises RuntimeError, with its error output, if it fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    database = folder / "audfprint.pklz"
    lists = {name: folder / f"{name}.txt" for name in ("references", "queries")}
    for name, path in lists.items():
        path.write_text("\n".join(str(p.resolve()) for p in sorted((bench / name).glob("*.flac"))) + "\n")
    _run(program, "new", "--dbase", str(database), "--shifts", str(SHIFTS), "--list", str(lists["references"]))
    said = _run(
        program, "match", "--dbase", str(database), "--shifts", str(SHIFTS), "--max-matches", str(MAX_MATCHES),
        "--list", str(lists["queries"]),
    )  # fmt: skip
    return parsed(said.splitlines())


def parsed(lines: Iterable[str]) -> pa.Table:
    """audfprint's output as rows of schema.DETECTIONS. Scores grow with the hashes; CHANCE_HASHES give 0.5."""
    rows = []
    for line in lines:
        if match := MATCH.match(line):
            hashes = int(match["n"])
            rows.append(
                {
                    **dict.fromkeys(("query_start_s", "query_end_s", "reference_start_s", "reference_end_s"), 0.0),
                    "query_id": track_name(match["query"]),
                    "reference_id": track_name(match["reference"]),
                    "score": hashes / (hashes + CHANCE_HASHES),
                    "coarse_score": float(hashes),
                    "tempo_ratio": 1.0,
                    "num_windows": 1,
                    "kind": "sample",
                    "rank": 1,
                    "sweep_id": "audfprint",
                    "model_id": "audfprint",
                }
            )
    return pa.Table.from_pylist(rows, schema=DETECTIONS)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:2])} failed: {done.stderr.strip()[-500:]}")
    return done.stdout
