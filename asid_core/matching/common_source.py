"""Finds groups of tracks that share one source: a loop from a sample pack, or a break from one record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SHARED_SPAN = 0.5  # share of the shorter span: two places of a track that overlap more have the same material
Span = tuple[float, float]  # start and end in seconds


@dataclass(frozen=True)
class Group:
    """Numbers of the relations that share one source. `source_id`: the track that all others sample.

    It is None if there is no such track: the source may not be in the catalogue.
    """

    relations: list[int]
    source_id: str | None


def overlap(a: Span, b: Span) -> float:
    """Overlap as a share of the shorter span; negative if the spans do not touch."""
    shared = min(a[1], b[1]) - max(a[0], b[0])
    return shared / max(min(a[1] - a[0], b[1] - b[0]), 1e-6)


def common_sources(
    relations: Sequence[Mapping[str, Any]], spans: Sequence[tuple[float, float, float, float]]
) -> list[Group]:
    """Groups of at least three tracks that are related to each other in the same place, by their first relation.

    relations: rows with query_id, reference_id, kind, decided_by, first_place, places. spans: query_start_s,
    query_end_s, reference_start_s, reference_end_s of every place. Triangles with a common relation form one group.
    Duplicates are left out, because copies of one recording share everything.
    """
    parents: dict[int, int] = {}

    def root(n: int) -> int:
        parents.setdefault(n, n)
        while parents[n] != n:
            parents[n] = n = parents[parents[n]]
        return n

    sides = [_spans_by_track(relation, spans) for relation in relations]
    for triangle in _triangles(relations):
        roots = {root(n) for n in triangle}
        if len(roots) > 1 and _share_one_place([sides[n] for n in triangle]):
            first = min(roots)
            parents.update(dict.fromkeys(roots, first))
    groups: dict[int, list[int]] = {}
    for n in sorted(parents):
        groups.setdefault(root(n), []).append(n)
    return [Group(some, _source([relations[n] for n in some])) for some in groups.values() if len(some) > 2]


def _spans_by_track(relation: Mapping[str, Any], spans: Sequence[Sequence[float]]) -> dict[str, list[Span]]:
    some = spans[relation["first_place"] : relation["first_place"] + relation["places"]]
    query, reference = relation["query_id"], relation["reference_id"]
    return {query: [(s[0], s[1]) for s in some], reference: [(s[2], s[3]) for s in some]}


def _triangles(relations: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, int, int]]:
    """The three relations of each triangle of tracks, each triangle once."""
    neighbours: dict[str, dict[str, int]] = {}
    for n, relation in enumerate(relations):
        query, reference = relation["query_id"], relation["reference_id"]
        if relation["kind"] == "sample" and query != reference:
            # neighbours has only earlier relations, so each triangle is found once, at its last relation
            a, b = neighbours.setdefault(query, {}), neighbours.setdefault(reference, {})
            small, large = (a, b) if len(a) < len(b) else (b, a)
            yield from ((small[track], large[track], n) for track in small if track in large)
            a[reference] = b[query] = n


def _share_one_place(sides: Sequence[Mapping[str, list[Span]]]) -> bool:
    """Whether places of the two relations of each of the three tracks overlap."""
    tracks = {track for side in sides for track in side}
    return all(_touch(*(side[track] for side in sides if track in side)) for track in tracks)


def _touch(some: Sequence[Span], others: Sequence[Span]) -> bool:
    return any(overlap(a, b) > SHARED_SPAN for a in some for b in others)


def _source(relations: Sequence[Mapping[str, Any]]) -> str | None:
    """The only track of the group that samples none of the others, if the directions of its relations are known."""
    tracks = {relation[side] for relation in relations for side in ("query_id", "reference_id")}
    sampling = {relation["query_id"] for relation in relations}
    unknown = {r["reference_id"] for r in relations if r["decided_by"] == "unknown"}
    sources = tracks - sampling - unknown
    return sources.pop() if len(sources) == 1 else None
