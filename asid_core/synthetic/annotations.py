"""Writes the truth of a benchmark in the layout of Sample100-ext."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from asid_core.evaluation.sample100 import MADE_GROUPS
from asid_core.evaluation.truth import Truth


def write_annotations(output: Path, truth: Truth) -> None:
    """Write samples.csv, tracks.csv and annotations/ to `output`, so that readers of Sample100-ext can read them.

    Additional columns hold the rest of the truth, so that an evaluation with these files gives the same figures.
    """
    rows: list[dict[str, Any]] = []
    (output / "annotations").mkdir(parents=True, exist_ok=True)
    for number, r in enumerate(truth.relations, 1):
        sample_id = f"S{number:04d}"
        spans = [asdict(o) for o in r.occurrences]
        annotation = {
            "query_time_annotations": [
                {"start_time": s["query_start_s"], "end_time": s["query_end_s"], "id": 1} for s in spans
            ],
            "target_time_annotations": [
                {"start_time": spans[0]["reference_start_s"], "end_time": spans[0]["reference_end_s"], "id": 1}
            ],
            "target_track_id": r.reference,
            "query_track_id": r.query,
            "sample_id": sample_id,
        }
        (output / "annotations" / f"{sample_id}.json").write_text(json.dumps(annotation))
        rows.append(
            {
                "sample_id": sample_id,
                "target_track_id": r.reference,
                "query_track_id": r.query,
                "t_target": int(spans[0]["reference_start_s"]),
                "t_query": int(spans[0]["query_start_s"]),
                "n_repetitions": len(spans),
                "estimated_tempo_ratio": r.tempo_ratio,
                "target_instruments": "",
                "query_interfering_instruments": "",
                "sample_type": "riff",
                "interpolation": "no",
                "comments": "",
                "pitch_semitones": r.pitch_semitones,
                "equivalent_starts_s": " ".join(map(str, r.equivalent_starts_s)),
                **{name: r.groups[name] for name in MADE_GROUPS},
            }
        )
    _write_csv(output / "samples.csv", rows)
    roles = {**dict.fromkeys(truth.references, "reference"), **dict.fromkeys((q.name for q in truth.queries), "query")}
    unknown = {"artist": "", "year": "", "genre": ""}
    _write_csv(output / "tracks.csv", [{"track_id": n, "title": n, **unknown, "role": r} for n, r in roles.items()])


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else ["sample_id"])
        writer.writeheader()
        writer.writerows(rows)
