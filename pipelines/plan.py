"""Estimates what a corpus costs, from the geometry of the tables and measured rates. Reads no data."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from importlib import resources
from typing import Any

from asid_core.config import SearchConfig
from asid_core.matching.background import groups_of_each
from asid_core.matching.coarse import GROUP
from asid_core.matching.inverted_lists import ROUNDS, SAMPLE_ROWS, lists_for
from pipelines.search.exact import BLOCK_ROWS

PCM_BYTES_S = 16_000 * 2
TRACK_ROW_BYTES, DETECTION_ROW_BYTES = 600, 200
FLOAT_BYTES = 4
TABLE_ROW_BYTES = 71  # of the other columns that a search reads, in memory
USUAL = 1.5  # groups of a block that tell what is usual, on average, times `groups_of_each`


@dataclass(frozen=True)
class Shape:
    """The settings that determine table sizes and compute time."""

    core_s: float
    margin_s: float
    windows_per_second: float
    dim: int
    probes: int
    query_hop_s: float
    first_pass_dims: int  # dimensions that the first pass of the exact search compares
    first_pass_stride: int
    first_pass_probes: int
    votes_row_bytes: float  # memory, of a row of the table that is searched by votes
    votes_share: float  # of the lists that a query vector is compared with
    votes_best: int  # tracks that are then searched exactly
    votes_program_bytes: int  # memory of the task that makes them, beside the rows
    search: SearchConfig
    together_s: float  # duration of the query tracks that are searched together, each time in all references


@dataclass(frozen=True)
class Plan:
    """Sizes in bytes, and hours of one core or one GPU; None if a rate was not measured."""

    tracks: int
    audio_h: float
    rows: int  # of the fingerprint table
    search: str  # of a sweep: 'exact' or 'votes'
    tracks_bytes: int
    segments_bytes: int
    fingerprints_bytes: int
    votes_bytes: int  # memory of each node that searches by votes
    making_votes_bytes: int  # memory of the node that makes them
    query_vectors: int  # of a full sweep
    segment_core_h: float | None
    embed_core_h: float | None
    embed_gpu_h: float | None
    sweep_features_core_h: float | None
    sweep_exact_core_h: float | None
    sweep_exact_gpu_h: float | None
    sweep_votes_core_h: float | None
    sweep_verify_core_h: float | None
    sweep_read_bytes: float | None  # of the catalogue, by a full sweep
    sweep_requests: float | None  # if it is on S3
    sweep_requests_usd: float | None
    driver_bytes: float | None  # memory, of a re-index
    reindex_h: float | None  # wall time of a re-index with nothing new

    @property
    def core_h(self) -> float | None:
        """Core hours of all stages, without a GPU."""
        sweep = self.sweep_exact_core_h if self.search == "exact" else self.sweep_votes_core_h
        stages = (self.segment_core_h, self.embed_core_h, self.sweep_features_core_h, sweep, self.sweep_verify_core_h)
        return None if None in stages else sum(hours for hours in stages if hours is not None)


def read_rates() -> dict[str, Any]:
    """The measured rates in pipelines/rates.json, with the machine and the date of measurement."""
    rates: dict[str, Any] = json.loads(resources.files("pipelines").joinpath("rates.json").read_text())
    return rates


def plan(tracks: int, mean_minutes: float, shape: Shape, rates: dict[str, Any]) -> Plan:
    """The cost of `tracks` recordings of `mean_minutes` each. Fingerprint sizes leave out ids, some 10 %."""
    track_s = mean_minutes * 60
    audio_s = tracks * track_s
    segments = max(1, math.ceil(track_s / shape.core_s))
    rows = round(audio_s * shape.windows_per_second)
    vector_bytes = shape.dim * FLOAT_BYTES
    search = "exact" if rows < exact_below(shape.search) else "votes"
    votes_bytes = 0 if search == "exact" else round(rows * shape.votes_row_bytes)
    query_vectors = round(audio_s / shape.query_hop_s * shape.probes)
    first_pass = shape.first_pass_dims / shape.first_pass_stride / shape.first_pass_probes
    per_row = first_pass + _usual(rows, shape)
    compared = query_vectors * rows / 2  # each pair of tracks once
    voting, few = _votes(rows, query_vectors / shape.first_pass_probes, shape), min(shape.votes_best, tracks)
    scans = math.ceil(audio_s / shape.together_s) if search == "exact" else 1
    read_bytes, requests = _reads(tracks, track_s, scans * rows * (vector_bytes + TABLE_ROW_BYTES), shape, rates)

    def hours(work: float, rate: str) -> float | None:
        return None if rates[rate] is None else work / rates[rate] / 3600

    return Plan(
        tracks=tracks,
        audio_h=audio_s / 3600,
        rows=rows,
        search=search,
        tracks_bytes=tracks * TRACK_ROW_BYTES,
        # each border between segments adds a margin on both sides
        segments_bytes=round(tracks * (track_s + 2 * shape.margin_s * (segments - 1)) * PCM_BYTES_S),
        fingerprints_bytes=rows * vector_bytes,
        votes_bytes=votes_bytes,
        making_votes_bytes=votes_bytes and 2 * votes_bytes + shape.votes_program_bytes,  # what is read, and sorted
        query_vectors=query_vectors,
        segment_core_h=hours(audio_s, "segment_x_realtime"),
        embed_core_h=hours(audio_s, "embed_x_realtime"),
        embed_gpu_h=hours(audio_s, "embed_x_realtime_gpu"),
        sweep_features_core_h=hours(audio_s, "query_x_realtime"),
        sweep_exact_core_h=hours(compared * per_row, "exact_multiply_adds_s"),
        sweep_exact_gpu_h=hours(compared * per_row, "exact_multiply_adds_s_gpu"),
        sweep_votes_core_h=_sum(
            hours(voting, "votes_multiply_adds_s"),
            hours(query_vectors * few * rows / tracks * first_pass, "exact_multiply_adds_s"),
        ),
        sweep_verify_core_h=hours(tracks * _verified(tracks, shape), "verify_pairs_s"),
        sweep_read_bytes=read_bytes,
        sweep_requests=requests,
        sweep_requests_usd=_product(requests, rates["s3_usd_per_request"]),
        driver_bytes=_sum(rates["driver_bytes"], _product(tracks, rates["driver_bytes_per_track"])),
        reindex_h=hours(tracks, "reindex_tracks_s"),
    )


def exact_below(search: SearchConfig) -> int:
    """A full sweep on CPUs takes votes of a table of so many rows."""
    return min(search.votes_from_rows, search.exact_below_rows)


def _usual(rows: int, shape: Shape) -> float:
    """Multiply-adds of a query vector and a row of an exact search for the groups that tell what is usual."""
    groups = USUAL * groups_of_each(math.ceil(rows / BLOCK_ROWS))
    return shape.dim * groups * GROUP / BLOCK_ROWS


def _votes(rows: int, query_vectors: float, shape: Shape) -> float:
    """Multiply-adds of sorting all rows into lists, and of comparing the query vectors that vote with some lists."""
    held, lists = rows / shape.first_pass_stride, lists_for(rows)
    sorted_rows = held + ROUNDS * min(SAMPLE_ROWS * lists, held)
    compared = query_vectors * (lists + shape.votes_share * held / 2)
    return (sorted_rows * lists + compared) * shape.first_pass_dims


def _verified(tracks: int, shape: Shape) -> int:
    """The number of tracks that are verified for each query, at most."""
    return min(shape.search.among(tracks).verify_tracks, tracks - 1)


def _reads(
    tracks: int, track_s: float, scans_bytes: float, shape: Shape, rates: dict[str, Any]
) -> tuple[float | None, float | None]:
    """Bytes and requests of a full sweep: every query's audio, a segment of each candidate, and the fingerprints.

    scans_bytes: of fingerprints, which an exact sweep reads once for each group of queries that are searched together.
    """
    segments = max(1, math.ceil(track_s / shape.core_s))
    candidates = _verified(tracks, shape)
    segment_bytes = (min(track_s, shape.core_s) + 2 * shape.margin_s * min(1, segments - 1)) * PCM_BYTES_S
    files, some = tracks * (1 + candidates), tracks * (segments + candidates)
    opening, per_request = rates["s3_requests_per_file"], rates["s3_table_bytes_per_request"]
    requests = None
    if opening is not None and per_request is not None:
        requests = files * opening + some + scans_bytes / per_request
    return some * segment_bytes + scans_bytes, requests


def _product(some: float | None, other: float | None) -> float | None:
    return None if some is None or other is None else some * other


def _sum(some: float | None, other: float | None) -> float | None:
    return None if some is None or other is None else some + other
