"""Settings of probing, search, verification and the score."""

from __future__ import annotations

import itertools
from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from asid_core.config.model import LogFrequencyConfig
from asid_core.config.values import (
    STRICT,
    Count,
    CountOrZero,
    Frames,
    Loudness,
    PitchSteps,
    Rows,
    Share,
    TempoRatios,
    TempoSteps,
)

# Tempi whose windows a first pass takes for each other. Ours are 8 % apart: with one of three looked at, the map of
# discriminant (RESULTS) has the same mAP
NEAR_TEMPO = 1.1


@dataclass(frozen=True, config=STRICT)
class ProbesConfig:
    """Transformations of the query tried in the feature domain. `(0,)` and `(1,)`: none."""

    semitones: PitchSteps = (0.0,)
    tempo_ratios: TempoRatios = (1.0,)
    query_hop_s: Annotated[float, Field(ge=0, le=600)] = 0.0  # 0: every window of the query
    reversed: bool = False  # also look for samples that are played backwards: twice the work

    @property
    def grid(self) -> list[tuple[float, float]]:
        """Every (semitones, tempo_ratio), tempo innermost: the order of probed vectors."""
        return list(itertools.product(self.semitones, self.tempo_ratios))

    def alike(self, most: Literal[1, 3, 5, 7, 9]) -> Literal[1, 3, 5, 7, 9]:
        """How many probes that are neighbours in tempo one may stand for in a first pass: `most`, or 1."""
        tempi = self.tempo_ratios
        near = all(max(pair) <= NEAR_TEMPO * min(pair) for pair in itertools.pairwise(tempi))
        return most if near and len(tempi) % most == 0 else 1


@dataclass(frozen=True, config=STRICT)
class FirstPassConfig:
    """What the exact search compares first, to choose the groups of rows that it then scores in full."""

    stride: Literal[0, 1, 2, 4, 8, 16] = 1  # every such row; 0: no first pass, everything is scored in full
    dims: Annotated[int, Field(ge=0, le=8192)] = 0  # leading dimensions of a projection ordered by variance; 0: all
    probes: Literal[1, 3, 5, 7, 9] = 3  # the middle one of so many probes with neighbouring tempi


NO_FIRST_PASS = FirstPassConfig(stride=0, probes=1)


@dataclass(frozen=True, config=STRICT)
class SearchConfig:
    """Coarse search: how many hits a query window keeps, and when LanceDB's index replaces exact blocks."""

    hits_per_window: Annotated[int, Field(ge=1, le=10_000)] = 50
    # references a query track hands on to the later stages, and lines in each (strong ones elsewhere in the query come
    # on top). 120 made queries, 129 references: 2 to
    # 100 give the same recall and mAP (RESULTS, "Candidates"); the rest is for catalogues of many more tracks
    verify_tracks: Count = 20
    places_per_track: Count = 2
    first_pass: FirstPassConfig = field(default_factory=FirstPassConfig)
    # about where LanceDB's IVF_PQ overtakes: at 10^6 rows it answers 182 queries a second and core, with a recall@10 of
    # 0.53 on laid-over queries; the exact search 4,400 probes, fewer as rows grow (RESULTS, "Search speed", "stages")
    exact_below_rows: Rows = 20_000_000
    nprobes: Count = 64  # partitions of the index that a query looks into
    refine_factor: Count = 10  # so many times the hits are scored again by the vectors themselves
    silence_db: Loudness = -60.0
    shard_tracks: Count = 128  # query tracks per task at most; fewer where their vectors fill a batch of the search
    rerank_pairs: CountOrZero = 32  # window pairs a query spends on the reranker, best candidates first


@dataclass(frozen=True, config=STRICT)
class VerifyConfig:
    """The matched filter that decides on a candidate by the audio itself. Frames are of the `features` section."""

    features: LogFrequencyConfig = field(default_factory=LogFrequencyConfig)
    excerpt_frames: Frames = 100  # 4 s of the reference
    lag_frames: Annotated[int, Field(ge=0, le=10_000)] = 25  # to either side of where the coarse search points
    # semitones around the candidate's, parts of the candidate's ratio
    pitch_steps: PitchSteps = (-0.5, -0.25, 0.0, 0.25, 0.5)
    tempo_steps: TempoSteps = (-0.03, -0.015, 0.0, 0.015, 0.03)
    reach_frames: CountOrZero = 500  # a span grows at most so far from its excerpt, on either side
    smooth_frames: Frames = 25
    repeat_share: Share = 0.6  # a repeat matches at least so well, as a share of the best occurrence
    # below it nothing is shared: spans stay the coarse search's, repeats are not sought
    min_score: Annotated[float, Field(ge=-1, le=1)] = 0.3


@dataclass(frozen=True, config=STRICT)
class ScoreConfig:
    """Logistic model of the final score; fitted by `asid bench fit` on held-out music."""

    intercept: float = -12.5
    coarse: float = 0.92
    verify: float = 9.47
    margin: float = 12.97
    rerank: float = 0.0
    tries: float = 0.0  # lost for each e-fold of rows searched x probes: the best of more tries is better by chance
    threshold: Share = 0.5  # detections below it are not reported
