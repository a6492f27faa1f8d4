"""The truth about a set of queries: who samples whom, and where. Benchmarks and Sample100 are both read into this."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from asid_core.signal.formats import AUDIO_SUFFIXES


def track_name(track_id: str) -> str:
    """The name by which truth and detections are matched: `queries/q001.flac` -> `q001`."""
    path = PurePosixPath(track_id)
    return path.stem if path.suffix.lower() in AUDIO_SUFFIXES else path.name


@dataclass(frozen=True)
class Occurrence:
    """One occurrence of a sample: its span in the query, and the span of the reference that is played. Seconds."""

    query_start_s: float
    query_end_s: float
    reference_start_s: float
    reference_end_s: float


@dataclass(frozen=True)
class Relation:
    """`query` samples `reference`. `t_reference = t_0 + tempo_ratio * t_query`; pitch is query minus reference.

    equivalent_starts_s: other places of the reference where the sampled passage sounds the same, as in looped music;
    detections of them are right. Values are None if unknown.
    """

    query: str
    reference: str
    occurrences: tuple[Occurrence, ...] = ()
    tempo_ratio: float | None = None
    pitch_semitones: float | None = None
    equivalent_starts_s: tuple[float, ...] = ()
    groups: dict[str, str] = field(default_factory=dict)  # groups by which results are split: tier, type...
    backwards: bool = False  # the sample is played backwards: it starts at the end of the reference's span


@dataclass(frozen=True)
class Query:
    """A query track or a clip of one. A query without a relation samples nothing. groups: as in Relation.

    ignored: references that are neither right nor wrong, and are left out of its ranking.
    """

    name: str
    duration_s: float | None = None
    groups: dict[str, str] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True)
class Truth:
    """Queries, the references that are relevant to any of them, and their relations. Distractors are not listed."""

    queries: tuple[Query, ...]
    references: tuple[str, ...]
    relations: tuple[Relation, ...]

    def relevant(self) -> dict[str, set[str]]:
        """Query -> the references that it samples; an empty set for a query that samples nothing."""
        result: dict[str, set[str]] = {q.name: set() for q in self.queries}
        for relation in self.relations:
            result[relation.query].add(relation.reference)
        return result

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Truth:
        relations = [
            Relation(
                **{
                    **r,
                    "occurrences": tuple(Occurrence(**o) for o in r["occurrences"]),
                    "equivalent_starts_s": tuple(r["equivalent_starts_s"]),
                }
            )
            for r in values["relations"]
        ]
        queries = tuple(Query(**{**q, "ignored": tuple(q.get("ignored", ()))}) for q in values["queries"])
        return cls(queries, tuple(values["references"]), tuple(relations))


def read_truth(path: Path) -> Truth:
    """Read a benchmark's `truth.json`. Raises FileNotFoundError if it is missing, ValueError if it is malformed."""
    try:
        if path.exists() and not path.is_file():
            raise ValueError(f"{path} is no regular file: make a benchmark with `asid bench make`")
        return Truth.from_dict(json.loads(path.read_text())["truth"])
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not a benchmark's truth ({error}). Make one with `asid bench make`.") from error
