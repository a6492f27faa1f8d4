"""What people said of relations: confirmed, not a sample, unsure. Kept in the catalogue, never changed in place.

A verdict belongs to a pair of recordings, whatever they are called (`relation_id`), so it outlives sweeps, renames and
a re-index, and comes back with the audio.
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
WITHDRAWN = "withdrawn"  # takes back what was said of a relation
NOTE_LIMIT = 2000  # characters
FOLDER = "verdicts"


def read(catalogue: Catalogue) -> dict[str, dict[str, Any]]:
    """relation_id -> the latest verdict (schema.VERDICTS) of each relation that has one."""
    place = catalogue.location.join(FOLDER)
    names = sorted(e.name for e in place.list() if e.kind == "file" and e.name.endswith(".parquet"))
    latest: dict[str, dict[str, Any]] = {}
    for name in names:  # by the time they were written, which decides between two of the same second
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
    """Rows of schema.VERDICTS from a file that the report saved. Raises CatalogueError where it is another file."""
    try:
        listed = json.loads(text)["verdicts"]
        return [_row(one, who) for one in listed]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CatalogueError(f"this is no file of verdicts as the report saves it ({error!r})") from None


def _row(one: dict[str, Any], who: str) -> dict[str, Any]:
    if one["verdict"] not in (*WORDS, WITHDRAWN):
        raise ValueError(f"no verdict {one['verdict']!r}")
    said_at = datetime.fromisoformat(one["when"].replace("Z", "+00:00")).astimezone(timezone.utc)
    if len(one["relation"]) != 16 or not set(one["relation"]) <= set("0123456789abcdef"):
        raise ValueError(f"no relation {one['relation']!r}")
    row = {"relation_id": one["relation"], "verdict": one["verdict"], "note": str(one.get("note") or "")[:NOTE_LIMIT]}
    row |= {"query_id": str(one["query"]), "reference_id": str(one["reference"]), "said_by": who, "said_at": said_at}
    return row
