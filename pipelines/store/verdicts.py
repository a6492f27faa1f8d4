"""Reviewers' verdicts on relations (confirmed, not a sample, unsure), stored in the catalogue and never overwritten.

A verdict belongs to a pair of recordings, identified by their audio (`relation_id`), so it survives new sweeps, renames
and reindexing, and reappears if removed audio comes back.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from asid_core.schema import VERDICTS
from pipelines.store.catalogue import Catalogue, CatalogueError
from pipelines.store.files import parquet

CONFIRMED, NOT_A_SAMPLE, UNSURE = "confirmed", "not a sample", "unsure"
WORDS = (CONFIRMED, NOT_A_SAMPLE, UNSURE)
WITHDRAWN = "withdrawn"  # cancels earlier verdicts on a relation
NOTE_LIMIT = 2000  # characters
FOLDER = "verdicts"


def read(catalogue: Catalogue) -> dict[str, dict[str, Any]]:
    """relation_id -> latest verdict, a row of schema.VERDICTS; withdrawn ones are left out."""
    place = catalogue.location.join(FOLDER)
    names = sorted(e.name for e in place.list() if e.kind == "file" and e.name.endswith(".parquet"))
    latest: dict[str, dict[str, Any]] = {}
    for name in names:  # names sort by time of writing, which decides between verdicts of the same second
        with parquet(place.join(name)) as file:
            rows = file.read().cast(VERDICTS).to_pylist()
        for row in rows:
            before = latest.get(row["relation_id"])
            if before is None or row["said_at"] >= before["said_at"]:
                latest[row["relation_id"]] = row
    return {key: row for key, row in latest.items() if row["verdict"] != WITHDRAWN}


def write(catalogue: Catalogue, rows: Sequence[dict[str, Any]]) -> None:
    """Add verdicts (schema.VERDICTS) in one atomic step."""
    if rows:
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(list(rows), schema=VERDICTS), sink)
        name = f"part-{time.time_ns()}-{secrets.token_hex(2)}.parquet"
        catalogue.location.join(FOLDER, name).write_bytes(bytes(sink.getvalue()))


def parse(text: bytes, who: str) -> list[dict[str, Any]]:
    """Rows of schema.VERDICTS from a file that a report saved. Raises CatalogueError for any other file."""
    try:
        listed = json.loads(text)["verdicts"]
        return [_row(one, who) for one in listed]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CatalogueError(f"this is not a file of verdicts saved by a report ({error!r})") from None


def _row(one: dict[str, Any], who: str) -> dict[str, Any]:
    if one["verdict"] not in (*WORDS, WITHDRAWN):
        raise ValueError(f"unknown verdict {one['verdict']!r}")
    said_at = datetime.fromisoformat(one["when"].replace("Z", "+00:00")).astimezone(timezone.utc)
    if len(one["relation"]) != 16 or not set(one["relation"]) <= set("0123456789abcdef"):
        raise ValueError(f"invalid relation {one['relation']!r}")
    row = {"relation_id": one["relation"], "verdict": one["verdict"], "note": str(one.get("note") or "")[:NOTE_LIMIT]}
    row |= {"query_id": str(one["query"]), "reference_id": str(one["reference"]), "said_by": who, "said_at": said_at}
    return row
