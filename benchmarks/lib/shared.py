"""Tracks of the wild benchmarks that share a recording, though no benchmark has planted it there.

asid has found them; `benchmarks.shared_recordings` compares their waveforms, which asid does not use. Whether a query
of one is reported in the other says nothing about quality, so such a reference is ignored.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path

from asid_core.evaluation.truth import Truth

LIST = Path(__file__).parents[1] / "shared_recordings.csv"


@dataclass(frozen=True)
class Shared:
    """Two tracks, named as in a benchmark, and their packages."""

    track: str
    package: str
    other: str
    other_package: str


def listed(path: Path = LIST) -> list[Shared]:
    """The pairs in shared_recordings.csv."""
    with path.open(newline="") as file:
        return [Shared(**row) for row in csv.DictReader(file)]


def ignoring(truth: Truth, pairs: list[Shared]) -> Truth:
    """`truth`, ignoring for each query what shares a recording with its background or with the track it samples."""
    partners: dict[str, set[str]] = {}
    for pair in pairs:
        partners.setdefault(pair.track, set()).add(pair.other)
        partners.setdefault(pair.other, set()).add(pair.track)
    sampled = truth.relevant()
    queries = []
    for query in truth.queries:
        own = sampled[query.name]
        heard = {query.groups.get("background", ""), *own}
        others = set().union(*(partners.get(name, set()) for name in heard)) - own
        queries.append(replace(query, ignored=tuple(sorted({*query.ignored, *others}))))
    return replace(truth, queries=tuple(queries))
