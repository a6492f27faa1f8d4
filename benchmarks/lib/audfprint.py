"""audfprint (https://github.com/dpwe/audfprint) on a benchmark, where it is installed: called as a program."""

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
SHIFTS, MOST = 4, 20  # subframe shifts of a fingerprint; matches reported a query
# Matched queries/q0001.flac 30.1 sec 2210 raw hashes as references/a.flac at   12.3 s with    45 of    60 common ...
MATCH = re.compile(
    r"^Matched (?P<query>.+?) [\d.]+ sec \d+ raw hashes as (?P<reference>.+?) at +\S+ s with +(?P<n>\d+) of"
)
USUAL_HASHES = 10.0  # that unrelated music may share; sets where a score is a half, not the order


def program() -> str | None:
    """Where audfprint is, or None."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


def detections(found: str, bench: Path, folder: Path) -> pa.Table:
    """Fingerprint `bench`/references, match `bench`/queries: rows of schema.DETECTIONS (spans and transforms unknown).

    found: the program; `folder` takes its database. Raises RuntimeError where it fails, with what it said.
    """
    folder.mkdir(parents=True, exist_ok=True)
    database = folder / "audfprint.pklz"
    lists = {name: folder / f"{name}.txt" for name in ("references", "queries")}
    for name, path in lists.items():
        path.write_text("\n".join(str(p.resolve()) for p in sorted((bench / name).glob("*.flac"))) + "\n")
    _run(found, "new", "--dbase", str(database), "--shifts", str(SHIFTS), "--list", str(lists["references"]))
    said = _run(
        found, "match", "--dbase", str(database), "--shifts", str(SHIFTS), "--max-matches", str(MOST),
        "--list", str(lists["queries"]),
    )  # fmt: skip
    return parsed(said.splitlines())


def parsed(lines: Iterable[str]) -> pa.Table:
    """Its lines as rows: the score grows with the number of hashes that agree, 0.5 at USUAL_HASHES."""
    rows = []
    for line in lines:
        if match := MATCH.match(line):
            hashes = int(match["n"])
            rows.append(
                {
                    **dict.fromkeys(("query_start_s", "query_end_s", "reference_start_s", "reference_end_s"), 0.0),
                    "query_id": track_name(match["query"]),
                    "reference_id": track_name(match["reference"]),
                    "score": hashes / (hashes + USUAL_HASHES),
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
