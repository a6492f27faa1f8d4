"""What is true of a set of queries, whoever annotated it. Benchmarks and Sample100 both become this."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from asid_core.signal.formats import AUDIO_SUFFIXES


def track_name(track_id: str) -> str:
    """The name truth and detections agree on: the file's, without folders and ending (`queries/q001.flac` -> q001)."""
    path = PurePosixPath(track_id)
    return path.stem if path.suffix.lower() in AUDIO_SUFFIXES else path.name


@dataclass(frozen=True)
class Occurrence:
    """One time the sample sounds: where in the query and what part of the reference. Seconds."""

    query_start_s: float
    query_end_s: float
    reference_start_s: float
    reference_end_s: float


@dataclass(frozen=True)
class Relation:
    """`query` samples `reference`. `t_reference = t_0 + tempo_ratio * t_query`; pitch is query minus reference.

    `equivalent_starts_s`: other places of the reference where the sampled passage sounds the same, as in looped music;
    finding one of them is not a mistake. `None` where nobody knows.
    """

    query: str
    reference: str
    occurrences: tuple[Occurrence, ...] = ()
    tempo_ratio: float | None = None
    pitch_semitones: float | None = None
    equivalent_starts_s: tuple[float, ...] = ()
    groups: dict[str, str] = field(default_factory=dict)  # what results are split by: tier, type, interpolation...
    backwards: bool = False  # the sample is played backwards: its start is the end of the reference's span


@dataclass(frozen=True)
class Query:
    """A query track (or a piece cut from one). `groups` as for relations; a query of no relation samples nothing.

    `ignored`: references that are neither right nor wrong, and left out of its ranking.
    """

    name: str
    duration_s: float | None = None
    groups: dict[str, str] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True)
class Truth:
    """Queries, the references that are relevant to any of them, and who samples what. Noise tracks are not listed."""

    queries: tuple[Query, ...]
    references: tuple[str, ...]
    relations: tuple[Relation, ...]

    def relevant(self) -> dict[str, set[str]]:
        """The references each query samples; an empty set for one that samples nothing."""
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
    """Read a benchmark's `truth.json`. Raises FileNotFoundError, or ValueError saying what is wrong with the file."""
    try:
        if path.exists() and not path.is_file():
            raise ValueError(f"{path} is no regular file: make a benchmark with `asid bench make`")
        return Truth.from_dict(json.loads(path.read_text())["truth"])
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not a benchmark's truth ({error}); make one with `asid bench make`") from error
