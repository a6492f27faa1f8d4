"""asid plan: estimate storage and hours for a corpus of a given size, from measured rates. Reads no data."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from asid_core.config import SAMPLE_RATE_HZ, Config
from jobs import command, tables
from jobs.command import Outcome, Session, Verb

if TYPE_CHECKING:
    from pipelines.plan import Plan, Shape

SIZES = [10**power for power in range(3, 9)]
UNMEASURED = "not measured"


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tracks", metavar="N", type=count, help="number of recordings, e.g. 100000 or 1e6 (default: 1e3 to 1e8)"
    )
    parser.add_argument(
        "--mean-minutes", metavar="M", type=positive, default=4.0, help="mean length of a recording (default 4)"
    )
    parser.add_argument("--cores", metavar="C", type=count, default=1, help="cores, for wall time (default 1)")
    parser.add_argument("--gpus", metavar="G", type=count, help="number of GPUs for embedding")
    command.format_option(parser)


def count(text: str) -> int:
    """argparse type: a whole number above 0, which may be written as 1e6."""
    value = float(text)
    if not (value >= 1 and value == int(value)):
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above 0")
    return int(value)


def positive(text: str) -> float:
    """argparse type: a finite number above 0."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def work(session: Session) -> Outcome:
    from pipelines.plan import plan, read_rates
    from pipelines.search.voted import BEST

    args, rates = session.args, read_rates()
    sizes = [args.tracks] if args.tracks else SIZES
    estimates = [plan(tracks, args.mean_minutes, shape(session.config), rates) for tracks in sizes]
    audio_h = sum(estimate.audio_h for estimate in estimates)
    summary = session.summary(f"{sum(sizes):,} tracks, {audio_h:,.0f} h of audio planned")
    if args.format != "table":
        command.show_rows([dataclasses.asdict(estimate) for estimate in estimates], args.format)
        return Outcome(summary, to_stderr=True)
    if args.tracks:
        for name, value in lines(estimates[0], args.gpus, args.cores):
            print(f"{name:<44}{value:>16}")
    else:
        head, *rows = overview(estimates, args.cores)
        print(tables.aligned([dict(zip(head, row, strict=True)) for row in rows], {n: (n, tables.plain) for n in head}))
    most = exact_tracks(args.mean_minutes, session.config)
    print(f"up to {most:,} tracks a sweep on CPUs compares every row; above, those of the best {BEST} tracks by votes")
    print(f"rates measured on {rates['machine']}, {rates['date']}")
    print("--new-only sweeps cost the share of new tracks, and those by votes the sorting of all rows as well")
    return Outcome(summary)


def exact_tracks(mean_minutes: float, config: Config) -> int:
    """The largest number of tracks of which a sweep on CPUs compares every row."""
    from pipelines.plan import exact_below

    rows_per_track = mean_minutes * 60 * shape(config).windows_per_second
    return int(exact_below(config.search) / rows_per_track)


def overview(estimates: Sequence[Plan], cores: int) -> list[tuple[str, ...]]:
    """A table of several sizes: a header, and a row for each."""
    head = ("tracks", "audio", "search", "fingerprints", "sweep reads", "requests", "driver memory")
    rows: list[tuple[str, ...]] = [(*head, f"hours, {cores:,} core{'s' * (cores > 1)}")]
    for one in estimates:
        wall = None if one.core_h is None else one.core_h / cores
        reads = (size(one.sweep_read_bytes), dollars(one.sweep_requests_usd), size(one.driver_bytes))
        audio = f"{one.audio_h:,.0f} h"
        rows.append((f"{one.tracks:,}", audio, one.search, size(one.fingerprints_bytes), *reads, hours(wall)))
    return rows


def shape(config: Config) -> Shape:
    """The settings of a configuration that determine table sizes and compute time."""
    from pipelines.plan import Shape
    from pipelines.search.sweep_plan import searched_together_s
    from pipelines.search.voted import BEST, PROGRAM_BYTES, SHARE, row_bytes

    front = config.model.front_end
    hop_s = front.window_hop_frames * front.hop_samples / SAMPLE_RATE_HZ
    return Shape(
        core_s=config.segment.core_s,
        margin_s=config.segment.margin_s,
        windows_per_second=1 / hop_s,
        dim=config.model.encoder.dim,
        probes=len(config.probes.grid),
        query_hop_s=config.probes.query_hop_s or hop_s,
        first_pass_dims=config.first_pass.dims or config.model.encoder.dim,
        first_pass_stride=max(1, config.first_pass.stride),
        first_pass_probes=config.first_pass.probes,
        votes_row_bytes=row_bytes(config, config.model.encoder.dim),
        votes_share=SHARE,
        votes_best=BEST,
        votes_program_bytes=PROGRAM_BYTES,
        search=config.search,
        together_s=searched_together_s(config, config.model.encoder.dim, hop_s),
    )


def lines(estimate: Plan, gpus: int | None, cores: int = 1) -> list[tuple[str, str]]:
    """The printed lines: name, and value with its unit."""
    table = [
        ("audio", f"{estimate.audio_h:,.0f} h"),
        ("tracks table", size(estimate.tracks_bytes)),
        ("segment tables", size(estimate.segments_bytes)),
        (f"fingerprints ({estimate.rows:,} rows)", size(estimate.fingerprints_bytes)),
        ("votes, memory of each node", size(estimate.votes_bytes)),
        ("votes, memory of the node that makes them", size(estimate.making_votes_bytes)),
        ("segment, core hours", hours(estimate.segment_core_h)),
        ("embed, core hours", hours(estimate.embed_core_h)),
        ("embed, GPU hours", hours(estimate.embed_gpu_h)),
        ("full sweep, features, core hours", hours(estimate.sweep_features_core_h)),
        ("full sweep, exact, core hours", hours(estimate.sweep_exact_core_h)),
        ("full sweep, exact, GPU hours", hours(estimate.sweep_exact_gpu_h)),
        ("full sweep, votes, core hours", hours(estimate.sweep_votes_core_h)),
        ("full sweep, verify, core hours", hours(estimate.sweep_verify_core_h)),
        ("full sweep, bytes read", size(estimate.sweep_read_bytes)),
        ("full sweep, requests to S3", number(estimate.sweep_requests)),
        ("full sweep, price of the requests", dollars(estimate.sweep_requests_usd)),
        ("driver, memory of a re-index", size(estimate.driver_bytes)),
        ("re-index with nothing new, hours", hours(estimate.reindex_h)),
        (f"all stages, hours on {cores:,} cores", hours(None if estimate.core_h is None else estimate.core_h / cores)),
    ]
    if gpus:
        embed = None if estimate.embed_gpu_h is None else estimate.embed_gpu_h / gpus
        table.append((f"embed on {gpus:,} GPUs, hours", hours(embed)))
    return table


def number(value: float | None) -> str:
    return UNMEASURED if value is None else f"{value:,.0f}"


def dollars(value: float | None) -> str:
    return UNMEASURED if value is None else f"{value:,.2f} USD"


def size(number: float | None) -> str:
    """Bytes in the largest decimal unit that leaves at least 1."""
    if number is None:
        return UNMEASURED
    value = float(number)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000:
            return f"{value:,.1f} {unit}"
        value /= 1000
    return f"{value:,.1f} PB"


def hours(value: float | None) -> str:
    return UNMEASURED if value is None else f"{value:,.1f}"


VERB = Verb(
    "plan",
    "Estimate storage, compute hours and the kind of search for a corpus of a given size.",
    "asid plan\nasid plan --tracks 20000 --cores 16\nasid plan --tracks 1e6 --mean-minutes 4 --gpus 8",
    options,
    work,
)
