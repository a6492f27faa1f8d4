"""Typed, frozen configuration. A named config (configs/NAME.yaml) states only what differs from the defaults here.

Every section is a frozen dataclass; an unknown key or a value of the wrong type is a `ConfigError` naming the
dotted path. Where a section may be one of several classes, its `kind` key chooses.
"""

from __future__ import annotations

import itertools
import json
import typing
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml

from asid_core.config.model import (
    SAMPLE_RATE_HZ,
    CqtConfig,
    DiscriminantConfig,
    EncoderConfig,
    FrontEndConfig,
    GnnConfig,
    LinearConfig,
    LogFrequencyConfig,
    LogMelConfig,
    ModelConfig,
    RerankerConfig,
    ResnetIbnConfig,
)
from asid_core.plain_values import ConfigError, from_dict, override, to_dict

__all__ = [
    "AugmentationConfig",
    "Config",
    "CqtConfig",
    "DiscriminantConfig",
    "EncoderConfig",
    "FirstPass",
    "FrontEndConfig",
    "GnnConfig",
    "LinearConfig",
    "LogFrequencyConfig",
    "LogMelConfig",
    "ModelConfig",
    "NEAR_TEMPO",
    "NO_FIRST_PASS",
    "ProbesConfig",
    "Report",
    "RerankerConfig",
    "ResnetIbnConfig",
    "SAMPLE_RATE_HZ",
    "ScoreConfig",
    "SearchConfig",
    "SegmentConfig",
    "TrainingConfig",
    "VerifyConfig",
    "load",
    "names",
    "read_values",
]


@dataclass(frozen=True)
class SegmentConfig:
    """Geometry of a segment table and what makes a recording unusable (DESIGN section 2)."""

    # 491,520 samples: a multiple of 512, 640, 8192 and 2560, so every front end's frames and hops fall on the cut.
    core_s: float = 30.72
    margin_s: float = 6.0
    min_track_s: float = 1.0
    max_track_s: float = 12 * 3600.0
    silence_db: float = -70.0
    follow_links: bool = False  # out of the corpus
    decode_timeout_s: float = 120.0  # without any progress, not for the whole file
    files_per_task: int = 8
    commit_tracks: int = 2000


# Tempi whose windows a first pass takes for each other. Ours are 8 % apart: with one of three looked at, the map of
# discriminant (RESULTS) has the same mAP
NEAR_TEMPO = 1.1


@dataclass(frozen=True)
class ProbesConfig:
    """Transformations of the query tried in the feature domain. `(0,)` and `(1,)`: none."""

    semitones: tuple[float, ...] = (0.0,)
    tempo_ratios: tuple[float, ...] = (1.0,)
    query_hop_s: float = 0.0  # 0: every window of the query

    @property
    def grid(self) -> list[tuple[float, float]]:
        """Every (semitones, tempo_ratio), tempo innermost: the order of probed vectors."""
        return list(itertools.product(self.semitones, self.tempo_ratios))

    def alike(self, most: Literal[1, 3, 5, 7, 9]) -> Literal[1, 3, 5, 7, 9]:
        """How many probes that are neighbours in tempo one may stand for in a first pass: `most`, or 1."""
        tempi = self.tempo_ratios
        near = all(max(pair) <= NEAR_TEMPO * min(pair) for pair in itertools.pairwise(tempi))
        return most if near and len(tempi) % most == 0 else 1


@dataclass(frozen=True)
class FirstPass:
    """What the exact search compares first, to choose the groups of rows that it then scores in full."""

    stride: Literal[0, 1, 2, 4, 8, 16] = 1  # every such row; 0: no first pass, everything is scored in full
    dims: int = 0  # leading dimensions of a projection ordered by variance; 0: all
    probes: Literal[1, 3, 5, 7, 9] = 3  # the middle one of so many probes with neighbouring tempi


NO_FIRST_PASS = FirstPass(stride=0, probes=1)


@dataclass(frozen=True)
class SearchConfig:
    """Coarse search: how many hits a query window keeps, and when LanceDB's index replaces exact blocks."""

    hits_per_window: int = 50
    # references a query track hands on to the later stages, and lines in each (strong ones elsewhere in the query come
    # on top). 120 made queries, 129 references: 2 to
    # 100 give the same recall and mAP (RESULTS, "Candidates"); the rest is for catalogues of many more tracks
    verify_tracks: int = 20
    places_per_track: int = 2
    first_pass: FirstPass = field(default_factory=FirstPass)
    # about where LanceDB's IVF_PQ overtakes: at 10^6 rows it answers 182 queries a second and core, with a recall@10 of
    # 0.53 on laid-over queries; the exact search 4,400 probes, fewer as rows grow (RESULTS, "Search speed", "stages")
    exact_below_rows: int = 20_000_000
    nprobes: int = 64  # partitions of the index that a query looks into
    refine_factor: int = 10  # so many times the hits are scored again by the vectors themselves
    silence_db: float = -60.0
    shard_tracks: int = 128  # query tracks a task at most; fewer where their vectors fill what is searched with at once
    rerank_pairs: int = 32  # window pairs a query spends on the reranker, best candidates first


@dataclass(frozen=True)
class VerifyConfig:
    """The matched filter that decides on a candidate by the audio itself. Frames are of the `features` section."""

    features: LogFrequencyConfig = field(default_factory=LogFrequencyConfig)
    excerpt_frames: int = 100  # 4 s of the reference
    lag_frames: int = 25  # looked at on either side of where the coarse search points
    pitch_steps: tuple[float, ...] = (-0.5, -0.25, 0.0, 0.25, 0.5)  # semitones around the candidate's
    tempo_steps: tuple[float, ...] = (-0.03, -0.015, 0.0, 0.015, 0.03)  # parts of the candidate's ratio
    reach_frames: int = 500  # a span grows at most so far from its excerpt, on either side
    smooth_frames: int = 25
    repeat_share: float = 0.6  # a repeat matches at least so well, as a share of the best occurrence
    min_score: float = 0.3  # below it nothing is shared: spans stay the coarse search's, repeats are not sought


@dataclass(frozen=True)
class ScoreConfig:
    """Logistic model of the final score; fitted by `asid bench fit` on held-out music."""

    intercept: float = -12.5
    coarse: float = 0.92
    verify: float = 9.47
    margin: float = 12.97
    rerank: float = 0.0
    tries: float = 0.0  # lost for each e-fold of rows searched x probes: the best of more tries is better by chance
    threshold: float = 0.5  # detections below it are not reported


@dataclass(frozen=True)
class AugmentationConfig:
    """What may happen to a sample on its way into another track: the ends of ranges, drawn from uniformly."""

    semitones: float = 3.0
    tempo_ratios: tuple[float, ...] = (0.7, 1.5)
    together: bool = False  # pitch and tempo in one pair; the paper's T2 does one of them
    gain_db: float = 10.0
    offset_s: float = 0.25
    background_db: tuple[float, ...] = (
        -12.0,
        8.0,
    )  # of the music laid over it, re the sample; for recordings without stems
    equaliser_db: float = 0.0
    low_cut_hz: float = 20.0  # drawn up to here, and
    high_cut_hz: float = 8000.0  # down to here
    reverb_s: float = 0.0  # time in which the tail falls by 60 dB
    compression: float = 0.0  # share of the loudness changes, in dB, that is taken away
    codec_db: float = 120.0  # what lies this far below the loudest band of its frame is lost


@dataclass(frozen=True)
class TrainingConfig:
    """How an encoder or a reranker is trained (DESIGN section 4); the defaults are the paper's."""

    objective: Literal["paper", "mixes"] = "paper"
    batch_pairs: int = 64  # of one worker
    steps: int = 20_000
    learning_rate: float = 8e-5
    final_learning_rate: float = 7e-7
    warmup_steps: int = 100
    clip_norm: float = 1.0
    temperature: float = 0.05
    margin: float = 0.3  # of the baseline's triplet loss, in cosine
    curriculum: float = 0.5  # share of the steps over which all ranges grow from 5 % to full
    graph_blocks_start: float = (
        0.0  # share of the steps before which the graph blocks are left out (five times as fast)
    )
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    check_every: int = 200  # steps between validations and checkpoints
    held_out: tuple[str, ...] = ()  # beginnings of the track_ids to validate on; none: every tenth track
    reranker_steps: int = 2000
    reranker_learning_rate: float = 1e-4
    seed: int = 0


@dataclass(frozen=True)
class Report:
    """How much of a sweep its page shows; the best of samples and of duplicates each."""

    detections: int = 100_000
    snippets: int = 200  # detections that can be heard: 60 kB each
    snippet_s: float = 8.0


@dataclass(frozen=True)
class Config:
    """Everything a verb may be told."""

    segment: SegmentConfig = field(default_factory=SegmentConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    probes: ProbesConfig = field(default_factory=ProbesConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    verify: VerifyConfig = field(default_factory=VerifyConfig)
    score: ScoreConfig = field(default_factory=ScoreConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    report: Report = field(default_factory=Report)

    @property
    def first_pass(self) -> FirstPass:
        """The first pass of the exact search with these probes."""
        wanted = self.search.first_pass
        if not wanted.stride:
            return NO_FIRST_PASS
        return replace(wanted, probes=self.probes.alike(wanted.probes))


def names() -> list[str]:
    """Names of the configs we ship."""
    return sorted(
        p.name.removesuffix(".yaml") for p in resources.files("asid_core.configs").iterdir() if p.name.endswith(".yaml")
    )


def read_values(name_or_file: str) -> dict[str, Any]:
    """Plain values of a shipped config or of a YAML file."""
    path = Path(name_or_file)
    if path.suffix in (".yaml", ".yml", ".json"):
        if not path.is_file():
            raise ConfigError(f"no config file {path}")
        text = path.read_text()
        if path.suffix == ".json":  # YAML reads JSON's 8e-05 as a string
            return typing.cast(dict[str, Any], json.loads(text))
    elif name_or_file in names():
        text = resources.files("asid_core.configs").joinpath(f"{name_or_file}.yaml").read_text()
    else:
        raise ConfigError(f"no config named {name_or_file!r}; there are {', '.join(names())}, or give a .yaml file")
    return yaml.safe_load(text) or {}


def load(name_or_file: str, assignments: typing.Iterable[str] = ()) -> Config:
    """A named config or a file, with overrides. Raises ConfigError."""
    base = to_dict(from_dict(Config, read_values(name_or_file)))
    return from_dict(Config, override(base, assignments))
