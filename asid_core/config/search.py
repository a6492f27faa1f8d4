"""Settings of probing, search, verification and the score."""

from __future__ import annotations

import itertools
import math
from dataclasses import field, replace
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from asid_core.config.model import LogFrequencyConfig
from asid_core.config.values import (
    MOST_COUNT,
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

# Largest ratio of neighbouring tempi of which a first pass may compare only one. Ours are 8 % apart. Comparing one in
# five finds as much as one in three (benchmarks/RESULTS.md, "Map of the coarse search"): what a window shares with a
# place in pitch shows at any tempo. In trials among a million rows, one in fifteen lost tempi at the ends of the range.
NEAR_TEMPO = 1.1


@dataclass(frozen=True, config=STRICT)
class ProbesConfig:
    """Transformations of the query in the feature domain. `(0,)` and `(1,)`: none."""

    semitones: PitchSteps = (0.0,)
    tempo_ratios: TempoRatios = (1.0,)
    query_hop_s: Annotated[float, Field(ge=0, le=600)] = 0.0  # 0: every window of the query
    reversed: bool = False  # also find samples that are played backwards; doubles the work

    @property
    def grid(self) -> list[tuple[float, float]]:
        """All probes (semitones, tempo_ratio), in the order of probed vectors: tempo varies fastest."""
        return list(itertools.product(self.semitones, self.tempo_ratios))

    def alike(self, most: int) -> int:
        """Number of neighbouring tempi, at most `most`, that one probe may represent in a first pass; 1 if not near."""
        tempi = self.tempo_ratios
        near = all(max(pair) <= NEAR_TEMPO * min(pair) for pair in itertools.pairwise(tempi))
        return max(count for count in range(1, most + 1) if len(tempi) % count == 0) if near else 1


@dataclass(frozen=True, config=STRICT)
class FirstPassConfig:
    """The first pass of the exact search, which selects the groups of rows to score in full."""

    stride: Literal[0, 1, 2, 4, 8, 16] = 1  # compare every stride-th row; 0: no first pass, score everything in full
    dims: Annotated[int, Field(ge=0, le=8192)] = 0  # number of leading dimensions to compare; 0: all
    probes: Annotated[int, Field(ge=1, le=99)] = 3  # compare the middle one of this many probes with neighbouring tempi

    def compared(self, probes: int) -> slice:
        """Which of `probes` probes are compared."""
        apart = min(self.probes, probes)
        return slice(apart // 2, None, apart)


NO_FIRST_PASS = FirstPassConfig(stride=0, probes=1)


@dataclass(frozen=True, config=STRICT)
class SearchConfig:
    """Coarse search: hits per query window, candidates per query track, and up to which size every row is compared."""

    hits_per_window: Annotated[int, Field(ge=1, le=10_000)] = 50
    # References per query track that go on to the later stages, of up to a hundred (see `among`), and lines in each,
    # besides strong lines elsewhere in the query
    verify_tracks: Count = 20
    places_per_track: Count = 2
    first_pass: FirstPassConfig = field(default_factory=FirstPassConfig)
    # Every row of a smaller table may be compared. In a larger one, a sweep takes votes, and `asid query` uses the
    # index of LanceDB. From `votes_from_rows` on, a sweep takes votes where that is faster (search/exact_or_votes.py).
    exact_below_rows: Rows = 20_000_000
    votes_from_rows: Rows = 1_000_000
    nprobes: Count = 64  # partitions of the index that a query searches
    refine_factor: Count = 10  # rescore this many times the wanted hits with the full vectors
    silence_db: Loudness = -60.0
    shard_tracks: Count = 128  # largest number of query tracks per task; fewer if their vectors fill a batch
    rerank_pairs: CountOrZero = 32  # window pairs to rerank per query, best candidates first

    def among(self, references: int) -> SearchConfig:
        """These settings for a catalogue of so many references.

        `verify_tracks` grows by as much again with every ten times more than a hundred, because the more there are,
        the more of them resemble a query by chance as much as what it samples.
        """
        tens = max(1.0, math.log10(max(references, 1)) - 1)
        return replace(self, verify_tracks=min(round(self.verify_tracks * tens), MOST_COUNT))


@dataclass(frozen=True, config=STRICT)
class VerifyConfig:
    """The matched filter that verifies candidates on the audio. Frames are those of the `features` section."""

    features: LogFrequencyConfig = field(default_factory=LogFrequencyConfig)
    excerpt_frames: Frames = 100  # 4 s of the reference
    lag_frames: Annotated[int, Field(ge=0, le=10_000)] = 25  # on either side of the lag of the coarse search
    # offsets from the candidate's pitch in semitones, and relative offsets from its tempo ratio
    pitch_steps: PitchSteps = (-0.5, -0.25, 0.0, 0.25, 0.5)
    tempo_steps: TempoSteps = (-0.03, -0.015, 0.0, 0.015, 0.03)
    reach_frames: CountOrZero = 500  # largest growth of a span beyond its excerpt, on either side
    smooth_frames: Frames = 25
    repeat_share: Share = 0.6  # smallest score of a repeat, as a share of the best occurrence's
    # below this score, repeats are not searched, and spans only refined if a reranker is sure
    min_score: Annotated[float, Field(ge=-1, le=1)] = 0.3


# Coherence of the same waveform is mostly higher than the first, that of two recordings of the same notes mostly lower
# than the second. Chosen on MIDI files in the sound fonts of training.
COHERENT, INCOHERENT = 0.15, 0.1


@dataclass(frozen=True, config=STRICT)
class ScoreConfig:
    """Coefficients of the logistic model of the final score, fitted by `asid bench fit` on held-out music."""

    intercept: float = -12.5
    coarse: float = 0.92
    # A higher coarse score counts no more, because the same notes in another recording reach any. None reaches 100.
    coarse_ceiling: Annotated[float, Field(gt=0, le=1000)] = 100.0
    verify: float = 9.47
    margin: float = 12.97
    rerank: float = 0.0
    tries: float = 0.0  # subtracted per ln(rows searched x probes), because the best of more tries is higher by chance
    # subtracted if pitch and tempo are unchanged but the waveforms have nothing in common
    incoherent: Annotated[float, Field(ge=0, le=100)] = 4.0
    threshold: Share = 0.5  # detections with a lower score are not reported

    def of_coarse(self, coarse_score: float) -> float:
        """The contribution of a coarse score to the log-odds."""
        return self.coarse * min(coarse_score, self.coarse_ceiling)

    def of_coherence(self, coherence: float | None) -> float:
        """The log-odds that are lost by waveforms of this coherence; none without one, as for a changed pitch."""
        if coherence is None:
            return 0.0
        return self.incoherent * min(max((COHERENT - coherence) / (COHERENT - INCOHERENT), 0.0), 1.0)

    def of_tries(self, tries: float) -> float:
        """The log-odds that are lost by being the best of so many tries."""
        return self.tries * math.log(max(tries, 1))
