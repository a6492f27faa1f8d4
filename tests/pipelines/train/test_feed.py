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
from pipelines.train.stem_files import SPAN_SAMPLES, spans
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


def feed(shard: Shard, rows: int, again: bool) -> Feed:
    config = load("gnn-paper", ["training.augmentation.semitones=0"])
    cache = SpanCache(spectra_of(Fingerprinter(config).front_end, 0.0), config.training.augmentation)
    return Feed(shard, rows, cache, 0, again)


def test_the_first_batch_does_not_wait_for_all_spans_and_none_is_read_twice(tmp_path: Path) -> None:
    shard = Shard(tables(4))
    made = feed(shard, 4, again=True)
    batches = iter(made)
    assert len(next(batches).track) == 4 and len(made.cache) == 2
    later = list(islice(batches, 6))
    assert len(made.cache) == 4 and shard.epochs == 1
    assert {int(t) for batch in later for t in batch.track} == {span.track for span in made.cache.spans}
    assert sorted(later[-1].track.tolist()) == sorted(span.track for span in made.cache.spans)


@pytest.mark.parametrize("again", [True, False])
def test_what_does_not_fit_is_read_again_by_a_lone_worker(again: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = Shard(tables(3))
    made = feed(shard, 2, again)
    batches = iter(made)
    next(batches)
    monkeypatch.setattr(module, "LIMIT_BYTES", 2 * made.cache.spans[0].bytes)
    list(islice(batches, 4 * STEPS_PER_READ))
    assert len(made.cache) == 2
    assert shard.epochs > 1 if again else shard.epochs == 1


def test_no_spans_at_all_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="fewer workers"):
        next(iter(feed(Shard([]), 2, again=True)))
