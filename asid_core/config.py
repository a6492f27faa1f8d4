"""Typed, frozen configuration. A named config (configs/NAME.yaml) states only what differs from the defaults here.

Every section is a frozen dataclass; an unknown key or a value of the wrong type is a `ConfigError` naming the
dotted path. Where a section may be one of several classes, its `kind` key chooses.
"""

from __future__ import annotations

import itertools
import json
import math
import typing
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml

from asid_core.plain_values import ConfigError, from_dict, override, to_dict

SAMPLE_RATE_HZ = 16_000


@dataclass(frozen=True)
class SegmentConfig:
    """Geometry of a segment table and what makes a recording unusable (DESIGN section 2)."""

    # 491,520 samples: a multiple of 512, 640, 8192 and 2560, so every front end's frames and hops fall on the cut.
    core_s: float = 30.72
    margin_s: float = 6.0
    min_track_s: float = 1.0
    max_track_s: float = 12 * 3600.0
    silence_db: float = -70.0
    decode_timeout_s: float = 120.0  # without any progress, not for the whole file
    files_per_task: int = 8
    commit_tracks: int = 2000


@dataclass(frozen=True)
class LogMelConfig:
    """The paper's front end: power mel spectrogram in dB."""

    kind: Literal["log_mel"] = "log_mel"
    n_fft: int = 1024
    hop_samples: int = 512
    bins: int = 64
    window_frames: int = 128
    window_hop_frames: int = 16


@dataclass(frozen=True)
class LogFrequencyConfig:
    """Whitened log-frequency spectrogram (DESIGN section 4): a pitch shift is a shift of bins."""

    kind: Literal["log_frequency"] = "log_frequency"
    n_fft: int = 4096
    hop_samples: int = 640
    bins_per_octave: int = 24
    bins: int = 156
    f_min_hz: float = 65.4
    mean_bins: int = 25
    mean_frames: int = 25
    pool_bins: int = 2
    pool_frames: int = 4
    window_frames: int = 100
    window_hop_frames: int = 4


@dataclass(frozen=True)
class CqtConfig:
    """Constant-Q transform in decibels: the front end of the ResNet-IBN baseline (arXiv:2502.06364)."""

    kind: Literal["cqt"] = "cqt"
    rate_hz: int = 22_050
    hop_samples: int = 320  # of the table's 16 kHz; 441 at 22.05 kHz: 20 ms
    bins_per_octave: int = 12
    bins: int = 84
    f_min_hz: float = 32.7
    window_frames: int = 250
    window_hop_frames: int = 25

    @property
    def n_fft(self) -> int:
        """Samples at 16 kHz that the longest filter takes in: what a frame needs around it."""
        return math.ceil(SAMPLE_RATE_HZ / self.f_min_hz / (2 ** (1 / self.bins_per_octave) - 1))


@dataclass(frozen=True)
class LinearConfig:
    """A fixed projection of the whitened patch (PCA); needs the `log_frequency` front end."""

    kind: Literal["linear"] = "linear"
    dim: int = 256


@dataclass(frozen=True)
class DiscriminantConfig:
    """Directions of the patch in which a sample under other music stays near itself; needs `log_frequency` as well."""

    kind: Literal["discriminant"] = "discriminant"
    dim: int = 128


@dataclass(frozen=True)
class GnnConfig:
    """The paper's encoder (section 3; DESIGN section 4)."""

    kind: Literal["gnn"] = "gnn"
    patch_channels: int = 8
    patch_bins: int = 4
    patch_frames: int = 8
    channels: tuple[int, ...] = (64, 128, 256, 512)
    blocks: tuple[int, ...] = (2, 2, 6, 2)
    k: int = 5
    graph_blocks: bool = True
    edge_drop: float = 0.2
    stochastic_depth: float = 0.1
    pooled_dim: int = 1024
    hidden_dim: int = 4096
    dim: int = 128
    # of the nodes, pooled: the paper's. Or gains of what a projection of the whole window is given (gain_encoder.py)
    head: Literal["pooled", "gains"] = "pooled"


@dataclass(frozen=True)
class ResnetIbnConfig:
    """The baseline: a residual network with instance and batch normalisation, GeM pooling (arXiv:2502.06364)."""

    kind: Literal["resnet_ibn"] = "resnet_ibn"
    blocks: tuple[int, ...] = (3, 4, 6, 3)  # ResNet-50's
    width: int = 64  # of the first stage's bottlenecks; a stage doubles it
    classes: int = 2048  # of the training loss: recordings fall into so many; not used for fingerprints

    @property
    def dim(self) -> int:
        """Values of a vector: the last stage's channels, 2048 at width 64."""
        return int(4 * self.width * 2 ** (len(self.blocks) - 1))


@dataclass(frozen=True)
class RerankerConfig:
    """The cross-attention classifier; `heads = 0` means the model has none."""

    heads: int = 4
    hidden_dim: int = 128
    dropout: float = 0.3


@dataclass(frozen=True)
class ModelConfig:
    """What makes fingerprints. Its hash, with the weights', is the `model_id`."""

    name: str = "linear"
    front_end: LogMelConfig | LogFrequencyConfig | CqtConfig = field(default_factory=LogFrequencyConfig)
    encoder: LinearConfig | DiscriminantConfig | GnnConfig | ResnetIbnConfig = field(default_factory=LinearConfig)
    reranker: RerankerConfig = field(default_factory=lambda: RerankerConfig(heads=0))


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
