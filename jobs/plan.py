"""asid plan: estimate storage and hours for a corpus of a given size, from measured rates. Reads no data."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from asid_core.config import SAMPLE_RATE_HZ, Config
from jobs.command import Outcome, Session, Verb

if TYPE_CHECKING:
    from pipelines.plan import Plan, Shape


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tracks", metavar="N", type=count, required=True, help="number of recordings, e.g. 100000 or 1e6"
    )
    parser.add_argument(
        "--mean-minutes", metavar="M", type=positive, default=4.0, help="mean length of a recording (default 4)"
    )
    parser.add_argument("--gpus", metavar="G", type=count, help="number of GPUs for embedding")


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

    args, rates = session.args, read_rates()
    estimate = plan(args.tracks, args.mean_minutes, shape(session.config), rates)
    for name, value in lines(estimate, args.gpus):
        print(f"{name:<34}{value:>16}")
    print(f"rates measured on {rates['machine']}, {rates['date']}; --new-only sweeps cost the share of new tracks")
    return Outcome(session.summary(f"{estimate.tracks:,} tracks, {estimate.audio_h:,.0f} h of audio planned"))


def shape(config: Config) -> Shape:
    """The settings of a configuration that determine table sizes and compute time."""
    from pipelines.plan import Shape
    from pipelines.search.index import FLAT_BELOW_ROWS

    front, search = config.model.front_end, config.search
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
        exact_below_rows=search.exact_below_rows,
        flat_below_rows=FLAT_BELOW_ROWS,
        verify_tracks=search.verify_tracks,
    )


def lines(estimate: Plan, gpus: int | None) -> list[tuple[str, str]]:
    """The printed lines: name, and value with its unit."""
    table = [
        ("audio", f"{estimate.audio_h:,.0f} h"),
        ("tracks table", size(estimate.tracks_bytes)),
        ("segment tables", size(estimate.segments_bytes)),
        (f"fingerprints ({estimate.rows:,} rows)", size(estimate.fingerprints_bytes)),
        (f"index in memory ({estimate.search})", size(estimate.index_bytes)),
        ("segment, core hours", hours(estimate.segment_core_h)),
        ("embed, core hours", hours(estimate.embed_core_h)),
        ("embed, GPU hours", hours(estimate.embed_gpu_h)),
        ("full sweep, features, core hours", hours(estimate.sweep_features_core_h)),
        ("full sweep, exact, core hours", hours(estimate.sweep_exact_core_h)),
        ("full sweep, exact, GPU hours", hours(estimate.sweep_exact_gpu_h)),
        ("full sweep, index, core hours", hours(estimate.sweep_index_core_h)),
        ("full sweep, verify, core hours", hours(estimate.sweep_verify_core_h)),
    ]
    if gpus:
        embed = None if estimate.embed_gpu_h is None else estimate.embed_gpu_h / gpus
        table.append((f"embed on {gpus:,} GPUs, hours", hours(embed)))
    return table


def size(number: int) -> str:
    """Bytes in the largest decimal unit that leaves at least 1."""
    value = float(number)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000:
            return f"{value:,.1f} {unit}"
        value /= 1000
    return f"{value:,.1f} PB"


def hours(value: float | None) -> str:
    return "not measured" if value is None else f"{value:,.1f}"


VERB = Verb(
    "plan",
    "Estimate storage, compute hours and the kind of search for a corpus of a given size.",
    "asid plan --tracks 20000\nasid plan --tracks 1e6 --mean-minutes 4 --gpus 8",
    options,
    work,
)
