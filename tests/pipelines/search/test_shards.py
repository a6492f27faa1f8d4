"""How query tracks are distributed over the tasks of a sweep."""

from __future__ import annotations

import hashlib
import itertools
import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asid_core.config import Config, ProbesConfig, load
from asid_core.model.fingerprinter import Fingerprinter
from pipelines.driver import gpu_share, memory_share, tasks_have_gpus
from pipelines.search.exact import References
from pipelines.search.identify import SEARCH_BYTES, TOGETHER_S
from pipelines.search.sweep_plan import SHARDS, Plan, _digest
from pipelines.store.pairs import PAIR

PROBED = load("discriminant")
PLAIN = replace(PROBED, probes=ProbesConfig())
MODEL = Fingerprinter.from_pretrained("discriminant")


def shards(lengths_s: list[float], config: Config) -> list[list[float]]:
    references = References("m", 1, pa.table({}), MODEL.window_s, MODEL.hop_s)
    rows = pa.table({"duration_s": pa.array(lengths_s, pa.float64())})
    edges = Plan("s", MODEL, references, rows, pa.table({}), "", len(lengths_s), 0, False).shards(config).tolist()
    return [lengths_s[start:stop] for start, stop in itertools.pairwise(edges)]


@given(lengths_s=st.lists(st.floats(0.1, 40_000), max_size=300), probed=st.booleans())
def test_every_track_is_in_one_shard_and_none_but_the_last_is_beyond_what_is_searched_together(
    lengths_s: list[float], probed: bool
) -> None:
    config = PROBED if probed else PLAIN
    found = shards(lengths_s, config)
    assert [length for shard in found for length in shard] == lengths_s
    assert len(found) >= min(len(lengths_s), SHARDS) / 2
    vectors_s = len(PROBED.probes.grid) / PROBED.probes.query_hop_s if probed else 1 / MODEL.hop_s
    for shard in found:
        before_last_s = sum(shard[:-1])
        assert len(shard) <= config.search.shard_tracks
        assert before_last_s <= TOGETHER_S and before_last_s * vectors_s * MODEL.dim * 2 <= SEARCH_BYTES


@pytest.mark.parametrize(("config", "tracks"), [(PROBED, 3), (PLAIN, 90)])
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
    nodes: list[dict[str, float]], share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gpu_share(nodes) == share
    monkeypatch.setattr("pipelines.driver._nodes", lambda: nodes)
    assert tasks_have_gpus() is (share > 0)


@pytest.mark.parametrize(
    ("nodes", "share"),
    [
        ([{"CPU": 2.0, "memory": 8e9}], 2_000_000_000),
        ([{"CPU": 2.0, "memory": 1e9}, {"CPU": 8.0, "memory": 9e9}], 1_000_000_000),  # it fits everywhere
        ([{"memory": 1e9}, {"CPU": 8.0, "memory": 9e9}], 2_000_000_000),  # a head offers no CPU
    ],
)
def test_tasks_reserve_the_memory_that_they_need_but_never_more_than_a_node_has(
    nodes: list[dict[str, float]], share: int
) -> None:
    assert memory_share(nodes, 2e9) == share


@given(ids=st.lists(st.text(), max_size=20), glob=st.none() | st.just('"tracks": []'))
def test_the_digest_of_a_sweep_is_that_of_its_settings_and_tracks_as_json(ids: list[str], glob: str | None) -> None:
    """So sweeps of an asid that made it in one piece are found again."""
    values = {"algorithm": 2, "globs": [glob, None], "verify": {"x": 1.5}}
    tracks = [(track_id, f"h{n}") for n, track_id in enumerate(ids)]
    columns = ([track_id for track_id, _ in tracks], [content_hash for _, content_hash in tracks])
    table = pa.table([pa.array(some, pa.string()) for some in columns], names=PAIR)
    whole = json.dumps(values | {"tracks": tracks}, sort_keys=True).encode()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("pipelines.search.sweep_plan.WAVE", 3)
        assert _digest(values, table) == hashlib.blake2b(whole, digest_size=6).hexdigest()


def test_planning_takes_less_than_100_bytes_a_track_beside_the_table() -> None:
    """Rows as Python objects took 1,900."""
    count = 50_000
    ids, hashes = [f"{n:08}.wav" for n in range(count)], [f"{n:032x}" for n in range(count)]
    tracks = pa.table([ids, hashes], names=PAIR)
    tracks = tracks.append_column("duration_s", pa.array(np.full(count, 240.0)))
    references = References("m", 1, pa.table({}), MODEL.window_s, MODEL.hop_s)
    tracemalloc.start()
    plan = Plan("s", MODEL, references, tracks, tracks.select(PAIR), "", count, 0, False)
    assert plan.shards(PROBED)[-1] == count
    _digest({}, plan.known)
    before = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert before < 100 * count + 10e6  # 20,000 tracks at a time
