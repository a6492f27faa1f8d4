"""The complete config."""

from __future__ import annotations

from dataclasses import field, replace
from typing import Annotated

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from asid_core.config.model import ALIGNED_PATCH, ModelConfig
from asid_core.config.search import (
    NO_FIRST_PASS,
    FirstPassConfig,
    ProbesConfig,
    ScoreConfig,
    SearchConfig,
    VerifyConfig,
)
from asid_core.config.training import TrainingConfig
from asid_core.config.values import SAMPLE_RATE_HZ, STRICT, Count, Loudness, NotNegative, Positive, Rows


@dataclass(frozen=True, config=STRICT)
class SegmentConfig:
    """Geometry of the segment tables, and which recordings are rejected."""

    # 491,520 samples, a multiple of every front end's hops (512, 640, 2560, 8192), so that frames fall on the borders
    core_s: Annotated[float, Field(ge=0.1, le=600)] = 30.72
    margin_s: Annotated[float, Field(ge=0, le=60)] = 6.0
    min_track_s: NotNegative = 1.0
    max_track_s: Positive = 12 * 3600.0
    silence_db: Loudness = -70.0
    follow_links: bool = False  # follow links that lead out of the corpus
    decode_timeout_s: Positive = 120.0  # longest time without progress, not for the whole file
    files_per_task: Count = 8
    commit_tracks: Count = 2000

    @model_validator(mode="after")
    def _check(self) -> SegmentConfig:
        if self.min_track_s > self.max_track_s:
            raise ValueError(f"min_track_s {self.min_track_s} is more than max_track_s {self.max_track_s}")
        return self


@dataclass(frozen=True, config=STRICT)
class ReportConfig:
    """How much of a sweep the report shows: limits for the best samples and, separately, the best duplicates."""

    detections: Rows = 100_000
    sound_mb: Annotated[float, Field(ge=0, le=1_000_000)] = 100.0  # of places that can be heard: some 200 kB each
    snippet_s: Annotated[float, Field(gt=0, le=60)] = 8.0


@dataclass(frozen=True, config=STRICT)
class Config:
    """All settings."""

    segment: SegmentConfig = field(default_factory=SegmentConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    probes: ProbesConfig = field(default_factory=ProbesConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    verify: VerifyConfig = field(default_factory=VerifyConfig)
    score: ScoreConfig = field(default_factory=ScoreConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    report: ReportConfig = field(default_factory=ReportConfig)

    @property
    def first_pass(self) -> FirstPassConfig:
        """The first pass of the exact search, adapted to the probes."""
        wanted = self.search.first_pass
        if not wanted.stride:
            return NO_FIRST_PASS
        return replace(wanted, probes=self.probes.alike(wanted.probes))

    @model_validator(mode="after")
    def _check(self) -> Config:
        front, segment = self.model.front_end, self.segment
        core = round(segment.core_s * SAMPLE_RATE_HZ)
        if core % front.hop_samples:
            raise ValueError(
                f"segment.core_s {segment.core_s} is {core} samples, which is not a multiple of "
                f"model.front_end.hop_samples {front.hop_samples}; 30.72 works for every front end"
            )
        window_s = front.window_frames * front.hop_samples / SAMPLE_RATE_HZ
        if window_s > segment.margin_s:
            raise ValueError(f"segment.margin_s {segment.margin_s} must be at least a window, {window_s:g} s")
        if front.kind != "log_frequency" and self.probes.grid != [(0.0, 1.0)]:
            raise ValueError(
                f"{front.kind} features cannot be probed; set probes.semitones to [0] and probes.tempo_ratios to [1]"
            )
        if self.model.reranker.kind == "aligned" and not self.verify.features.has_frames_of(ALIGNED_PATCH):
            raise ValueError("model.reranker.kind: aligned needs the default frame settings in verify.features")
        return self
