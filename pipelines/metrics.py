"""What Prometheus can read of a run. Ray adds `ray_` to the names, and exports them on each node's metrics port."""

from __future__ import annotations

from typing import Any

from pipelines.runtime import ray_is_up

GAUGES = {
    "asid_tracks": "Tracks that a stage has done, including earlier runs",
    "asid_tracks_planned": "Tracks that a stage has to do in all, including those done",
    "asid_audio_hours": "Hours of audio that a stage has processed",
    "asid_rejects": "Files that a stage could not use",
    "asid_stage_seconds": "Seconds since a stage began",
    "asid_lease_renewed_seconds": "Unix time at which the run last renewed its lease of the catalogue",
}
COUNTERS = {"asid_candidates": "Candidates that a sweep has looked at"}  # Ray adds `_total`
# field of a progress event -> metric, and how many of the field's unit are one of the metric's
FIELDS = {
    "done": ("asid_tracks", 1.0),
    "total": ("asid_tracks_planned", 1.0),
    "audio_s": ("asid_audio_hours", 3600.0),
    "rejects": ("asid_rejects", 1.0),
}


def report_stage(event: dict[str, Any], seconds: float) -> None:
    """Report a progress event of a stage, `seconds` after the stage began. Driver only."""
    for field, (name, unit) in FIELDS.items():
        if event.get(field) is not None:
            _set(name, event[field] / unit, stage=event["stage"])
    _set("asid_stage_seconds", seconds, stage=event["stage"])


def report_lease(renewed: float) -> None:
    """Report when the lease was renewed (Unix time)."""
    _set("asid_lease_renewed_seconds", renewed)


def count_candidates(number: int) -> None:
    """Add to the candidates of a sweep. For workers."""
    if number and ray_is_up():  # Ray refuses to add 0
        from ray.util.metrics import Counter

        Counter("asid_candidates", COUNTERS["asid_candidates"]).inc(number)


def _set(name: str, value: float, **tags: str) -> None:
    """Does nothing without Ray: a verb that needs no Ray has nobody to tell."""
    if ray_is_up():
        from ray.util.metrics import Gauge

        Gauge(name, GAUGES[name], tuple(tags)).set(value, tags)
