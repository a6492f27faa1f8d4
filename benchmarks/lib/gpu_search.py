"""The whole exact search on a GPU, with the rows already there, and whether it finds what the CPU finds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from asid_core.config import Config
from asid_core.matching.coarse import ExactSearch, Hits
from asid_core.matching.eight_bits import quantised, step
from benchmarks.lib.steps import Said, table, unit, wait

ROWS_PER_TRACK, DIM, PROBES, TRACKS_AT_ONCE = 1500, 256, 225, 512
BLOCKS = (65_536, 2**20)
QUERY_TRACKS = (1, 8)


@dataclass(frozen=True)
class Searched:
    """Query tracks searched together in `rows` rows, `block` at a time. GB: the most that the GPU held."""

    rows: int
    block: int
    query_tracks: int
    seconds: float
    gb: float
    hits: int

    @property
    def pairs_per_second(self) -> float:
        return self.query_tracks * self.rows / ROWS_PER_TRACK / self.seconds


def tracks(rows: int, device: torch.device) -> Tensor:
    """Rows in eight bits, made on the device. Those of a track resemble each other: the mean cosine is 0.5."""
    made = torch.empty(rows, DIM, dtype=torch.int8, device=device)
    for start in range(0, rows, TRACKS_AT_ONCE * ROWS_PER_TRACK):
        some = made[start : start + TRACKS_AT_ONCE * ROWS_PER_TRACK]
        means = unit(-(-len(some) // ROWS_PER_TRACK), 1, DIM, device=device)
        rows_of = (means + unit(len(means), ROWS_PER_TRACK, DIM, device=device)).flatten(0, 1)[: len(some)]
        some.copy_(quantised(torch.nn.functional.normalize(rows_of, dim=1), step(DIM)))
    return made


def queries_like(rows: Tensor, probes: int, windows: int) -> Tensor:
    """Vectors [P, n, dim]: rows with noise, other noise for every probe."""
    some = rows[: windows * (len(rows) // windows) : len(rows) // windows].float() * step(DIM)
    return torch.nn.functional.normalize(some + unit(probes, windows, DIM, device=rows.device), dim=2)


def searched(rows: Tensor, queries: Tensor, block: int, config: Config) -> Hits:
    search = ExactSearch(queries, config.search.hits_per_window, config.search.first_pass)
    for start in range(0, len(rows), block):
        search.add(rows[start : start + block], start)
    return search.hits()


def agreement(device: torch.device, config: Config) -> Said:
    """Raises AssertionError if the hits of a small search differ from those of the CPU."""
    rows = tracks(2000, device)
    queries = queries_like(rows, 9, 6)
    here, there = (searched(rows.to(d), queries.to(d), 1024, config) for d in (device, torch.device("cpu")))
    ours, theirs = (
        {(w, r): (p, c) for w, r, p, c in zip(h.window, h.row, h.probe, h.cosine, strict=True)} for h in (here, there)
    )
    both = ours.keys() & theirs.keys()
    probes = sum(ours[hit][0] == theirs[hit][0] for hit in both)
    cosine = max((abs(float(ours[hit][1] - theirs[hit][1])) for hit in both), default=1.0)
    text = f"{len(both)} of {len(theirs)} rows are the CPU's, {probes} with its probe; cosines differ by {cosine:.1e}."
    assert len(both) == probes == len(theirs) == len(ours) and cosine < 1e-3, text
    return Said({"hits": len(theirs), "same": len(both), "same_probe": probes, "cosine": cosine}, text)


def speed(rows: Tensor, windows: int, config: Config) -> Said:
    """Seconds for a tenth of `rows` and for all, in small and in large blocks, for one query track and for 8."""
    measured = []
    for query_tracks in QUERY_TRACKS:
        queries = queries_like(rows, PROBES, windows * query_tracks)
        searched(rows[: len(rows) // 10], queries, BLOCKS[0], config)  # compiles
        for some in (rows[: len(rows) // 10], rows):
            for block in BLOCKS:
                measured.append(_measured(some, queries, block, query_tracks, config))
    lines = [
        [f"{m.rows:,}", f"{m.block:,}", str(m.query_tracks), f"{m.seconds:.3f}"]
        + [f"{m.query_tracks * m.rows / m.seconds:.3g}", f"{m.pairs_per_second:,.0f}", f"{m.gb:.1f}"]
        for m in measured
    ]
    head = "rows | block | query tracks | seconds | query tracks x rows/s | track pairs/s | GB"
    return Said([asdict(m) | {"pairs_per_second": m.pairs_per_second} for m in measured], table(head, lines))


def _measured(rows: Tensor, queries: Tensor, block: int, query_tracks: int, config: Config) -> Searched:
    if rows.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(rows.device)
    wait(rows.device)
    started = time.perf_counter()
    hits = searched(rows, queries, block, config)
    wait(rows.device)
    seconds = time.perf_counter() - started
    gb = torch.cuda.max_memory_allocated(rows.device) / 1e9 if rows.device.type == "cuda" else 0.0
    return Searched(len(rows), block, query_tracks, seconds, gb, len(hits.row))


def profile(rows: Tensor, windows: int, block: int, config: Config) -> Said:
    """What takes the time of a search: kernels by the GPU's clock, and calls by the CPU's."""
    queries = queries_like(rows, PROBES, windows)
    searched(rows, queries, block, config)
    wait(rows.device)
    kinds = {torch.profiler.ProfilerActivity.CPU}
    if rows.device.type == "cuda":
        kinds.add(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=kinds) as kept:
        started = time.perf_counter()
        searched(rows, queries, block, config)
        wait(rows.device)
        wall = time.perf_counter() - started
    events: Any = kept.key_averages()
    kernels = [e for e in events if e.device_type == torch.autograd.DeviceType.CUDA]
    on_gpu, on_cpu = _by(kernels, lambda e: e.self_device_time_total), _by(events, lambda e: e.self_cpu_time_total)
    busy = sum(seconds for _, _, seconds in on_gpu)
    text = (
        f"{len(rows):,} rows in blocks of {block:,}: {wall:.3f} s with the profiler, the GPU is busy for {busy:.3f} s."
    )
    for head, some in (("kernel", on_gpu[:12]), ("call on the CPU", on_cpu[:8])):
        lines = [[name[:90].replace("|", "/"), str(count), f"{1000 * seconds:.2f}"] for name, count, seconds in some]
        text += "\n\n" + table(f"{head} | times | ms", lines)
    return Said({"wall": wall, "busy": busy, "kernels": on_gpu[:12], "calls": on_cpu[:8]}, text)


def _by(events: list[Any], time_us: Callable[[Any], float]) -> list[tuple[str, int, float]]:
    """Name, count and seconds of events, longest first."""
    return sorted(((e.key, e.count, time_us(e) / 1e6) for e in events), key=lambda line: -line[2])
