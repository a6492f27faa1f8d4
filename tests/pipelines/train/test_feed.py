"""How a training worker batches its spans. The shard is a list of tables, without Ray."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from asid_core import schema
from asid_core.config import load
from asid_core.learning import span_cache as module
from asid_core.learning.front_end_spectra import spectra_of
from asid_core.learning.span_cache import SpanCache
from asid_core.model.fingerprinter import Fingerprinter
from pipelines.store.location import StorageError
from pipelines.train.stem_files import SPAN_SAMPLES, StemTables, spans
from pipelines.train.worker import STEPS_PER_READ, Feed


class Shard:
    """Ray's data iterator, as far as Feed uses it."""

    def __init__(self, tables: list[pa.Table]) -> None:
        self.tables, self.epochs = tables, 0

    def iter_batches(self, **options: Any) -> Iterator[pa.Table]:
        self.epochs += 1
        yield from self.tables


def tables(count: int) -> list[pa.Table]:
    generator = np.random.default_rng(0)
    rows = [
        row
        for i in range(count)
        for row in spans(f"{i}", {"mix": generator.integers(-9000, 9000, SPAN_SAMPLES, dtype=np.int16)})
    ]
    return [pa.Table.from_pylist([row], schema=schema.stems(["mix"])) for row in rows]


def feed(shard: Shard, rows: int) -> Feed:
    config = load("gnn-paper", ["training.augmentation.semitones=0"])
    cache = SpanCache(spectra_of(Fingerprinter(config).front_end, 0.0), config.training.augmentation)
    return Feed(shard, rows, cache, 0)


def test_the_first_batch_does_not_wait_for_all_spans_and_none_is_read_twice(tmp_path: Path) -> None:
    shard = Shard(tables(4))
    made = feed(shard, 4)
    batches = iter(made)
    assert len(next(batches).track) == 4 and len(made.cache) == 2
    later = list(islice(batches, 6))
    assert len(made.cache) == 4 and shard.epochs == 1
    assert {int(t) for batch in later for t in batch.track} == {span.track for span in made.cache.spans}
    assert sorted(later[-1].track.tolist()) == sorted(span.track for span in made.cache.spans)


def test_what_does_not_fit_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    shard = Shard(tables(3))
    made = feed(shard, 2)
    batches = iter(made)
    next(batches)
    monkeypatch.setattr(module, "LIMIT_BYTES", 2 * made.cache.spans[0].bytes)
    list(islice(batches, 4 * STEPS_PER_READ))
    assert len(made.cache) == 2
    assert shard.epochs > 1


def test_no_spans_at_all_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="fewer workers"):
        next(iter(feed(Shard([]), 2)))


@pytest.mark.parametrize(
    ("lengths", "workers"), [([1, 1, 1], 2), ([90, 1, 1, 1], 3), ([1, 1, 1, 90], 3), ([5] * 40, 4)]
)
def test_every_track_is_read_by_one_worker_and_each_has_some(lengths: list[int], workers: int, tmp_path: Path) -> None:
    made = StemTables(str(tmp_path), create=True)
    made.index["tracks"] = {f"{n:02}": {"spans": spans, "part": f"p{n // 4}"} for n, spans in enumerate(lengths)}
    shares = made.shares(made.tracks, workers)
    assert sorted(track for share in shares for track in share) == sorted(made.tracks)
    assert len(shares) == workers and all(shares)
    if len(set(lengths)) == 1:
        assert max(map(made.count, shares)) <= made.count(made.tracks) / workers + max(lengths)
    with pytest.raises(StorageError, match="fewer workers"):
        made.shares(made.tracks, len(lengths) + 1)
