"""Typed, frozen configuration. A named config (configs/NAME.yaml) states only what differs from the defaults here.

Every section is a frozen dataclass that validates its values. An unknown key or a value out of range is an error that
names the dotted path. If a section may be one of several classes, its key `kind` selects one.
"""

from asid_core.config.files import load, names, read_values, stated
from asid_core.config.model import (
    ALIGNED_PATCH,
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
from asid_core.config.search import (
    COHERENT,
    INCOHERENT,
    NEAR_TEMPO,
    NO_FIRST_PASS,
    FirstPassConfig,
    ProbesConfig,
    ScoreConfig,
    SearchConfig,
    VerifyConfig,
)
from asid_core.config.training import AugmentationConfig, TrainingConfig
from asid_core.config.values import SAMPLE_RATE_HZ
from asid_core.config.whole import Config, ReportConfig, SegmentConfig

__all__ = [
    "ALIGNED_PATCH",
    "AugmentationConfig",
    "COHERENT",
    "Config",
    "CqtConfig",
    "DiscriminantConfig",
    "EncoderConfig",
    "FirstPassConfig",
    "FrontEndConfig",
    "GnnConfig",
    "INCOHERENT",
    "LinearConfig",
    "LogFrequencyConfig",
    "LogMelConfig",
    "ModelConfig",
    "NEAR_TEMPO",
    "NO_FIRST_PASS",
    "ProbesConfig",
    "ReportConfig",
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
    "stated",
]
