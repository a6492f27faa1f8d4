"""Measures the stages of a sweep separately: the exact search, with and without its first pass, and the reranker.

The coarse search runs on one thread against growing tables of synthetic tracks, with all probes of the default or
without any. Without probes, every window of the query is used.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from asid_core import config as configs
from asid_core.config import Config, FirstPassConfig
from asid_core.matching.coarse import NO_FIRST_PASS, ExactSearch
from asid_core.model.fingerprinter import Fingerprinter
from benchmarks.lib.among_distractors import WEIGHTS, catalogue_in
from benchmarks.lib.meter import rate
from benchmarks.lib.results import write_json, write_section
from benchmarks.lib.synthetic import ROWS_PER_TRACK, vectors_like
from benchmarks.lib.validation_bench import folder_of
from pipelines.store.catalogue import Catalogue

COMMAND = "make -C benchmarks stages"
TRACKS = (10, 100, 400)
QUERY_S = 240.0
BLOCK = 65_536
WITH, WITHOUT = "probes", "no probes"


@dataclass(frozen=True)
class Searched:
    """The measurement of one query track searched in `tracks` others."""

    way: str
    tracks: int
    query_vectors: int
    seconds: float


def searched(rows: Tensor, queries: Tensor, tracks: int, way: str, first_pass: FirstPassConfig, keep: int) -> Searched:
    started = time.perf_counter()
    search = ExactSearch(queries, keep, first_pass)
    for start in range(0, tracks * ROWS_PER_TRACK, BLOCK):
        search.add(rows[start : min(start + BLOCK, tracks * ROWS_PER_TRACK)], start)
    search.hits()
    return Searched(way, tracks, queries[..., 0].numel(), time.perf_counter() - started)


def searches(rows: Tensor, config: Config) -> list[Searched]:
    """Time all searches. Query vectors are rows with noise, because the time does not depend on what they find."""
    probes = len(config.probes.grid)
    hop_s = config.model.front_end.window_hop_frames * config.model.front_end.hop_samples / configs.SAMPLE_RATE_HZ
    counts = {
        WITH: (probes, round(QUERY_S / config.probes.query_hop_s)),
        WITHOUT: (1, round(QUERY_S / hop_s)),
    }
    keep = config.search.hits_per_window
    generator = torch.Generator().manual_seed(0)
    measured = []
    for name, (each, windows) in counts.items():
        noise = torch.randn(each, windows, rows.shape[1], generator=generator) / rows.shape[1] ** 0.5
        queries = torch.nn.functional.normalize(rows[:windows] + noise, dim=2)
        for tracks in TRACKS:
            measured.append(searched(rows, queries, tracks, f"{name}, first pass", config.first_pass, keep))
            if tracks < TRACKS[-1]:
                measured.append(searched(rows, queries, tracks, f"{name}, no first pass", NO_FIRST_PASS, keep))
    return measured


def reranked(model: Fingerprinter, pairs: int) -> float:
    """Pairs per second of the reranker, for given nodes. Raises TypeError for a model without one."""
    if model.reranker is None:
        raise TypeError(f"{model.config.model.name} has no reranker")
    with torch.no_grad():
        nodes = model.encoder(torch.randn(2, *model.config.model.front_end.patch_size))[1]
        left, right = nodes[:1].expand(pairs, -1, -1).contiguous(), nodes[1:].expand(pairs, -1, -1).contiguous()
        reranker = model.reranker
        return pairs * rate(lambda: reranker(left, right))


def table(measured: Sequence[Searched]) -> str:
    lines = ["| search | tracks | query vectors | seconds per query track | track pairs/s |", "|---|---|---|---|---|"]
    for s in measured:
        lines.append(f"| {s.way} | {s.tracks} | {s.query_vectors:,} | {s.seconds:.3f} | {s.tracks / s.seconds:.0f} |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    bench = folder_of(argv, __doc__ or "")
    if bench is None:
        return 2
    torch.set_num_threads(1)
    rows = torch.from_numpy(vectors_like(Catalogue(str(catalogue_in(bench))), max(TRACKS) * ROWS_PER_TRACK))
    measured = searches(rows, configs.load(WEIGHTS))
    pairs = {count: reranked(Fingerprinter.from_pretrained("gnn-paper"), count) for count in (1, 8, 32)}
    at_most = {(s.way, s.tracks): s.seconds for s in measured}
    ratio = at_most[f"{WITH}, first pass", TRACKS[-1]] / at_most[f"{WITHOUT}, first pass", TRACKS[-1]]
    text = (
        f"A query of {QUERY_S:.0f} s against tracks of {ROWS_PER_TRACK} windows, one thread.\n\n{table(measured)}\n\n"
        f"Search with probes takes {ratio:.1f} times as long as without.\n\nReranker of gnn-paper, pairs/s: "
        + ", ".join(f"{value:,.0f} in batches of {count}" for count, value in pairs.items())
        + "."
    )
    print(text)
    write_json("stages", {"searches": measured, "rerank_pairs_per_second": {str(k): v for k, v in pairs.items()}})
    write_section("Speed of a sweep's stages", COMMAND, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
