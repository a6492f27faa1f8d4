"""How query tracks are distributed over the tasks of a sweep."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asid_core.config import Config, ProbesConfig, load
from asid_core.model.fingerprinter import Fingerprinter
from pipelines.driver import gpu_share
from pipelines.search.exact import References
from pipelines.search.identify import SEARCH_BYTES, TOGETHER_S
from pipelines.search.sweep import SHARDS, TAKEN_OVER_TRACKS, _Plan

PROBED = load("discriminant")
PLAIN = replace(PROBED, probes=ProbesConfig())
MODEL = Fingerprinter.from_pretrained("discriminant")


def shards(lengths_s: list[float], config: Config, fresh: frozenset[str] | None = None) -> list[list[float]]:
    references = References("m", 1, pa.table({}), MODEL.window_s, MODEL.hop_s, fresh)
    rows = [{"track_id": str(n), "duration_s": length} for n, length in enumerate(lengths_s)]
    plan = _Plan("s", MODEL, references, rows, pa.table({}), "", None)
    return [[row["duration_s"] for row in shard] for shard in plan.shards(config)]


@given(lengths_s=st.lists(st.floats(0.1, 40_000), max_size=300), probed=st.booleans())
def test_every_track_is_in_one_shard_and_none_but_the_last_is_beyond_what_is_searched_together(
    lengths_s: list[float], probed: bool
) -> None:
    config = PROBED if probed else PLAIN
    found = shards(lengths_s, config)
    assert [length for shard in found for length in shard] == lengths_s
    assert len(found) >= min(len(lengths_s), SHARDS) / 2
    vectors_s = len(PROBED.probes.grid) if probed else 1 / MODEL.hop_s
    for shard in found:
        before_last_s = sum(shard[:-1])
        assert len(shard) <= config.search.shard_tracks
        assert before_last_s <= TOGETHER_S and before_last_s * vectors_s * MODEL.dim * 4 <= SEARCH_BYTES


@pytest.mark.parametrize(("config", "tracks"), [(PROBED, 3), (PLAIN, 88)])
def test_fewer_probes_make_larger_shards(config: Config, tracks: int) -> None:
    assert len(shards([240.0] * 10_000, config)[0]) == tracks


@pytest.mark.parametrize(
    ("nodes", "share"),
    [
        ([{"CPU": 2.0}], 0.0),
        ([{"CPU": 16.0, "GPU": 1.0}, {"memory": 1.0}], 1 / 16),  # a head offers no CPU
        ([{"CPU": 16.0, "GPU": 8.0}, {"CPU": 64.0}], 0.0),
        ([{"CPU": 4.0, "GPU": 8.0}, {"CPU": 16.0, "GPU": 8.0}], 0.5),
        ([], 0.0),
    ],
)
def test_tasks_take_a_share_of_gpus_only_where_no_core_is_left_out_by_it(
    nodes: list[dict[str, float]], share: float
) -> None:
    assert gpu_share(nodes) == share


def test_a_shard_that_is_only_copied_is_large() -> None:
    assert len(shards([240.0] * 100_000, PROBED, frozenset())[0]) == TAKEN_OVER_TRACKS
