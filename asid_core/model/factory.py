"""Makes the front end, encoder and reranker that a config describes.

The graph encoders are imported when a config asks for one, because PyTorch Geometric takes two seconds to import.
"""

from __future__ import annotations

import torch
from torch import Tensor

from asid_core.config import (
    CqtConfig,
    DiscriminantConfig,
    FrontEndConfig,
    GnnConfig,
    LinearConfig,
    LogFrequencyConfig,
    LogMelConfig,
    ModelConfig,
    ResnetIbnConfig,
)
from asid_core.model.aligned_reranker import AlignedReranker
from asid_core.model.base import Encoder
from asid_core.model.linear import DiscriminantEncoder, LinearEncoder
from asid_core.model.reranker import Reranker
from asid_core.model.resnet import ResnetIbnEncoder
from asid_core.signal.cqt import CqtFrontEnd
from asid_core.signal.front_end import FrontEnd
from asid_core.signal.log_frequency import LogFrequencyFrontEnd
from asid_core.signal.log_mel import LogMelFrontEnd


def front_end_of(config: FrontEndConfig) -> FrontEnd:
    """The front end that a config section describes."""
    match config:
        case LogMelConfig():
            return LogMelFrontEnd(config)
        case LogFrequencyConfig():
            return LogFrequencyFrontEnd(config)
        case CqtConfig():
            return CqtFrontEnd(config)


def encoder_of(model: ModelConfig) -> Encoder:
    """A new encoder for the patches of the model's front end. Raises ValueError if they do not fit each other."""
    config = model.encoder
    bins, frames = model.front_end.patch_size
    match config:
        case LinearConfig():
            return LinearEncoder(config.dim, bins, frames)
        case DiscriminantConfig():
            return DiscriminantEncoder(config.dim, bins, frames)
        case ResnetIbnConfig():
            return ResnetIbnEncoder(config)
        case GnnConfig():
            return _graph_encoder_of(config, bins, frames)


def _graph_encoder_of(config: GnnConfig, bins: int, frames: int) -> Encoder:
    from asid_core.model.encoder import GnnEncoder, num_nodes
    from asid_core.model.gain_encoder import GainEncoder

    if config.head == "gains":
        return GainEncoder(config, bins, frames)
    num_nodes(config, bins, frames)  # raises ValueError for too small windows
    return GnnEncoder(config)


def reranker_of(model: ModelConfig) -> Reranker | AlignedReranker | None:
    """A new reranker, or None if the config has none."""
    config, encoder = model.reranker, model.encoder
    if not config.exists:
        return None
    if config.kind == "aligned":
        return AlignedReranker(config.channels)
    match encoder:
        case GnnConfig():
            from asid_core.model.encoder import num_nodes

            return Reranker(config, encoder.channels[-1], num_nodes(encoder, *model.front_end.patch_size))
    raise TypeError(f"a reranker needs nodes, but encoder.kind {encoder.kind} has none")


def weights_of(model: ModelConfig) -> dict[str, Tensor]:
    """The weights of a model as tensors on the meta device: names, shapes and types, without allocating memory."""
    with torch.device("meta"):
        parts = {"encoder": encoder_of(model), "reranker": reranker_of(model)}
    return {
        f"{part}.{name}": tensor
        for part, module in parts.items()
        if module is not None
        for name, tensor in module.state_dict().items()
    }
