"""Where a sweep takes votes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from asid_core.config import SearchConfig, load
from pipelines.driver import Room
from pipelines.plan import exact_below
from pipelines.search import exact_or_votes as module
from pipelines.search.exact import References
from pipelines.search.exact_or_votes import LEAST_QUERIES_S, check_room, needed, takes_votes
from pipelines.search.voted import PROGRAM_BYTES, row_bytes
from pipelines.store.catalogue import CatalogueError

SEARCH = SearchConfig(votes_from_rows=1000, exact_below_rows=20_000)
NEEDED, ENOUGH, SMALL = Room(100, 50), Room(100, 50), Room(1000, 49)


@pytest.fixture(autouse=True)
def cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """No GPU, and a node that has just the room."""
    monkeypatch.setattr(module, "tasks_have_gpus", lambda: False)
    monkeypatch.setattr(module, "room", lambda: ENOUGH)


@pytest.mark.parametrize(("rows", "votes"), [(999, False), (1000, True), (19_999, True), (20_000, True)])
def test_many_queries_take_votes_of_a_large_table(rows: int, votes: bool) -> None:
    assert takes_votes(rows, LEAST_QUERIES_S, NEEDED, SEARCH) is votes


@pytest.mark.parametrize(("rows", "votes"), [(1000, False), (19_999, False), (20_000, True)])
def test_every_row_is_compared_where_that_is_faster_or_there_is_no_room_unless_there_are_too_many(
    rows: int, votes: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert takes_votes(rows, LEAST_QUERIES_S - 1, NEEDED, SEARCH) is votes
    with monkeypatch.context() as patched:
        patched.setattr(module, "tasks_have_gpus", lambda: True)
        assert takes_votes(rows, LEAST_QUERIES_S, NEEDED, SEARCH) is votes
    assert not caplog.records
    for there in (SMALL, Room(99, 1000)):
        monkeypatch.setattr(module, "room", lambda there=there: there)
        caplog.clear()
        assert takes_votes(rows, LEAST_QUERIES_S, NEEDED, SEARCH) is votes
        assert len(caplog.records) == (0 if votes else 1)


def test_votes_that_a_node_cannot_hold_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check_room(NEEDED)
    for there in (SMALL, Room(99, 1000)):
        monkeypatch.setattr(module, "room", lambda there=there: there)
        with pytest.raises(CatalogueError, match="--references.*--set search.exact_below_rows"):
            check_room(NEEDED)


def test_without_a_node_yet_votes_wait_for_an_autoscaler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "room", lambda: None)
    check_room(NEEDED)
    assert takes_votes(1000, LEAST_QUERIES_S, NEEDED, SEARCH)


def test_what_votes_need_grows_with_the_rows() -> None:
    config, seconds = load("discriminant"), np.full(10, 240.0)
    references = References("m", 1, pa.table({"duration_s": seconds}), 2.0, 0.16)
    room = needed(references, config, 256)
    assert room.store_bytes == references.num_rows * row_bytes(config, 256)
    assert room.memory_bytes == PROGRAM_BYTES + 2 * room.store_bytes


@pytest.mark.parametrize(("votes", "exact", "border"), [(10, 20, 10), (20, 10, 10)])
def test_a_plan_takes_the_lower_border(votes: int, exact: int, border: int) -> None:
    assert exact_below(SearchConfig(votes_from_rows=votes, exact_below_rows=exact)) == border
