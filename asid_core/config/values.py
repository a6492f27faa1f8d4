"""Ranges of settings. A value out of range is refused when the config is read, before any memory is allocated."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

# for every section: no unknown keys, no strings as numbers, no NaN or infinity
STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

SAMPLE_RATE_HZ = 16_000

MOST_COUNT = 1_000_000
Count = Annotated[int, Field(ge=1, le=MOST_COUNT)]
CountOrZero = Annotated[int, Field(ge=0, le=MOST_COUNT)]
Rows = Annotated[int, Field(ge=0, le=10**12)]
Positive = Annotated[float, Field(gt=0, le=1e6)]
NotNegative = Annotated[float, Field(ge=0, le=1e6)]
Share = Annotated[float, Field(ge=0, le=1)]
ShareBelow1 = Annotated[float, Field(ge=0, lt=1)]
Loudness = Annotated[float, Field(ge=-200, le=0)]  # decibels re full scale
Decibels = Annotated[float, Field(ge=-200, le=200)]
Hertz = Annotated[float, Field(ge=0, le=SAMPLE_RATE_HZ / 2)]
Semitones = Annotated[float, Field(ge=-48, le=48)]
TempoRatio = Annotated[float, Field(ge=0.1, le=10)]

PitchSteps = Annotated[tuple[Semitones, ...], Field(min_length=1, max_length=200)]
TempoRatios = Annotated[tuple[TempoRatio, ...], Field(min_length=1, max_length=200)]
TempoSteps = Annotated[tuple[Annotated[float, Field(gt=-0.9, lt=2)], ...], Field(min_length=1, max_length=200)]

# of a front end
Bins = Annotated[int, Field(ge=1, le=2048)]
Frames = Annotated[int, Field(ge=1, le=10_000)]
Samples = Annotated[int, Field(ge=1, le=SAMPLE_RATE_HZ)]
FftSize = Annotated[int, Field(ge=64, le=16_384, multiple_of=2)]
OddSize = Annotated[int, Field(ge=3, le=1001)]

# of an encoder or a reranker
Width = Annotated[int, Field(ge=1, le=65_536)]
Dim = Annotated[int, Field(ge=1, le=8192)]
Stages = Annotated[tuple[Annotated[int, Field(ge=1, le=8192)], ...], Field(min_length=1, max_length=8)]
Blocks = Annotated[tuple[Annotated[int, Field(ge=0, le=64)], ...], Field(min_length=1, max_length=8)]
