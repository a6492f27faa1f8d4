"""Settings of training."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from asid_core.config.values import (
    STRICT,
    Count,
    CountOrZero,
    Decibels,
    Hertz,
    NotNegative,
    Positive,
    Rows,
    Share,
    TempoRatio,
)


@dataclass(frozen=True, config=STRICT)
class AugmentationConfig:
    """Random changes of a sample on its way into another track. Values are drawn uniformly from these ranges."""

    semitones: Annotated[float, Field(ge=0, le=48)] = 3.0
    tempo_ratios: Annotated[tuple[TempoRatio, ...], Field(min_length=2, max_length=2)] = (0.7, 1.5)
    together: bool = False  # change both pitch and tempo of a pair; the paper's T2 changes only one
    gain_db: NotNegative = 10.0
    offset_s: Annotated[float, Field(ge=0, le=60)] = 0.25
    # level of the background relative to the sample, for recordings without stems
    background_db: Annotated[tuple[Decibels, ...], Field(min_length=2, max_length=2)] = (-12.0, 8.0)
    equaliser_db: Annotated[float, Field(ge=0, le=200)] = 0.0
    low_cut_hz: Hertz = 20.0  # highest cutoff of the high-pass filter
    high_cut_hz: Hertz = 8000.0  # lowest cutoff of the low-pass filter
    reverb_s: Annotated[float, Field(ge=0, le=60)] = 0.0  # longest reverberation time (RT60)
    compression: Share = 0.0  # largest share of the level changes, in dB, that compression removes
    codec_db: Annotated[float, Field(ge=0, le=200)] = 120.0  # bands this far below the loudest of their frame are lost
    # probabilities and maximum amounts; each of the effects from `drive` on is applied to half of the samples
    one_part: Share = 0.0  # probability that only drums or only melody are sampled
    cut_inside: Share = 0.0  # probability that the sample begins or ends inside the window
    drive: Share = 0.0  # share of the power that distortion adds an octave above
    noise: Share = 0.0  # quantisation noise, as a share of the power of loud frames
    chorus: Share = 0.0  # share of the power that is smeared to neighbouring frames and bands
    pumping_db: Annotated[float, Field(ge=0, le=200)] = 0.0  # depth of the dip at every beat
    drift: Share = 0.0  # relative change of tempo between the ends and the middle of a window


@dataclass(frozen=True, config=STRICT)
class TrainingConfig:
    """How an encoder or a reranker is trained. The defaults are the paper's."""

    objective: Literal["paper", "mixes"] = "paper"
    batch_pairs: Count = 64  # per worker
    steps: Rows = 20_000
    learning_rate: Positive = 8e-5
    final_learning_rate: NotNegative = 7e-7
    warmup_steps: CountOrZero = 100
    clip_norm: Positive = 1.0
    temperature: Positive = 0.05
    margin: Annotated[float, Field(ge=0, le=2)] = 0.3  # of the baseline's triplet loss, in cosine
    curriculum: Share = 0.5  # share of the steps over which all ranges grow from 5 % to 100 %
    graph_blocks_start: Share = 0.0  # share of the steps (five times faster ones) without graph blocks at the start
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    check_every: Count = 200  # steps between validations and checkpoints
    held_out: tuple[str, ...] = ()  # prefixes of the track_ids to validate on; empty: every tenth track
    reranker_steps: Rows = 2000
    reranker_learning_rate: Positive = 1e-4
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
