"""Groups of tracks that share one thing: a loop from a pack, a break that everybody took from one record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SHARED_SPAN = 0.5  # of the shorter span: two places of a track that overlap more than this show the same thing
Span = tuple[float, float]  # start and end in seconds


@dataclass(frozen=True)
class Group:
    """Numbers of the relations that share one thing. `source_id`: the track that all others sample, if there is one.

    Without it, the source is perhaps not in the catalogue.
    """

    relations: list[int]
    source_id: str | None


def overlap(a: Span, b: Span) -> float:
    """Shared seconds as a share of the shorter span; negative where they are apart."""
    shared = min(a[1], b[1]) - max(a[0], b[0])
    return shared / max(min(a[1] - a[0], b[1] - b[0]), 1e-6)


def common_sources(
    relations: Sequence[Mapping[str, Any]], spans: Sequence[tuple[float, float, float, float]]
) -> list[Group]:
    """Groups of at least three tracks that are all related to each other in one place, first relation first.

    relations: rows with query_id, reference_id, kind, decided_by, first_place, places. spans: query_start_s,
    query_end_s, reference_start_s, reference_end_s of every place. Triangles that have a relation in common are one
    group. Duplicates are left out: copies of one recording share everything.
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
    """Three relations of three tracks, each triangle once."""
    neighbours: dict[str, dict[str, int]] = {}
    for n, relation in enumerate(relations):
        query, reference = relation["query_id"], relation["reference_id"]
        if relation["kind"] == "sample" and query != reference:
            # from here on only to relations that came before: so each triangle is met at its last relation
            a, b = neighbours.setdefault(query, {}), neighbours.setdefault(reference, {})
            small, large = (a, b) if len(a) < len(b) else (b, a)
            yield from ((small[track], large[track], n) for track in small if track in large)
            a[reference] = b[query] = n


def _share_one_place(sides: Sequence[Mapping[str, list[Span]]]) -> bool:
    """Whether in each of the three tracks places of its two relations overlap."""
    tracks = {track for side in sides for track in side}
    return all(_touch(*(side[track] for side in sides if track in side)) for track in tracks)


def _touch(some: Sequence[Span], others: Sequence[Span]) -> bool:
    return any(overlap(a, b) > SHARED_SPAN for a in some for b in others)


def _source(relations: Sequence[Mapping[str, Any]]) -> str | None:
    """The one track of the group that samples none of the others, if all directions from it are known."""
    tracks = {relation[side] for relation in relations for side in ("query_id", "reference_id")}
    sampling = {relation["query_id"] for relation in relations}
    unknown = {r["reference_id"] for r in relations if r["decided_by"] == "unknown"}
    sources = tracks - sampling - unknown
    return sources.pop() if len(sources) == 1 else None
