"""What shares a recording with a query's music is ignored."""

from __future__ import annotations

import numpy as np

from asid_core.evaluation.truth import Occurrence, Query, Relation, Truth
from benchmarks.lib.shared import Shared, ignoring, listed
from benchmarks.shared_recordings import PASSAGE_S, RATE_HZ, correlation

PAIRS = [Shared("a", "x", "b", "y"), Shared("c", "x", "a", "x")]


def relation(query: str, reference: str) -> Relation:
    return Relation(query, reference, (Occurrence(0.0, 1.0, 0.0, 1.0),), 1.0, 0.0)


def test_partners_of_the_background_and_of_what_is_sampled_are_ignored() -> None:
    queries = (
        Query("over a", groups={"background": "a"}),
        Query("of b", groups={"background": "z"}, ignored=("known",)),
        Query("of both", groups={"background": "z"}),
        Query("else", groups={}),
    )
    relations = (relation("of b", "b"), relation("of both", "a"), relation("of both", "c"))
    truth = ignoring(Truth(queries, ("a", "b", "c"), relations), PAIRS)
    assert [query.ignored for query in truth.queries] == [("b", "c"), ("a", "known"), ("b",), ()]
    assert truth.relations == relations


def test_a_loop_under_other_music_correlates_and_other_music_does_not() -> None:
    rng = np.random.default_rng(0)
    loop, one, other = (rng.normal(size=3 * PASSAGE_S * RATE_HZ).astype(np.float32) for _ in range(3))
    under = other.copy()
    under[9000 : 9000 + 2 * PASSAGE_S * RATE_HZ] += loop[: 2 * PASSAGE_S * RATE_HZ]
    assert correlation(loop, loop) > 0.99 and 0.6 < correlation(loop, under) < 0.8
    assert correlation(loop, one) < 0.1


def test_the_list_names_its_packages() -> None:
    assert listed() and all(pair.package.endswith("-data") and pair.track != pair.other for pair in listed())
