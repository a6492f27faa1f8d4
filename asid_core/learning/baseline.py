"""Training of the ResNet-IBN baseline: the sum of a triplet and a classification loss (arXiv:2502.06364)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asid_core.config import TrainingConfig
from asid_core.learning import losses
from asid_core.learning.pairs import Pairs, second_references
from asid_core.learning.tasks import EncoderTask, retrieval
from asid_core.model.fingerprinter import Fingerprinter
from asid_core.model.resnet import ResnetIbnEncoder


class ResnetTask(EncoderTask):
    """Trains on each worker's batch separately, including batch norms: the losses do not use rows of other workers."""

    def __init__(self, model: Fingerprinter, training: TrainingConfig) -> None:
        """Raises ValueError for a model with another encoder."""
        if model.config.model.encoder.trained_by != "triplet":
            raise ValueError("triplet and classification losses need encoder.kind resnet_ibn")
        self.model, self.training = model, training
        self.module = _Classified(cast(ResnetIbnEncoder, model.encoder))

    def loss(
        self, module: nn.Module, pairs: Pairs, gather: losses.Gather | None, rank: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Triplet loss in both directions, plus the cross-entropy of classifying the recording of each side."""
        vectors, logits = module(torch.cat([pairs.references, pairs.queries]))
        references, queries = vectors.chunk(2)
        same = pairs.ambiguous
        if pairs.track is not None:
            same = same | (pairs.track[:, None] == pairs.track)
        if pairs.second is not None:
            same = same | second_references(len(pairs), same.device)
        metric = (
            triplet(queries, references, same, self.training.margin)
            + triplet(references, queries, same.T, self.training.margin)
        ) / 2
        values = {"triplet": metric, "accuracy": retrieval(queries, references, pairs.ambiguous)["hr1"]}
        if pairs.track is None:
            return metric, values
        classes = (pairs.track % logits.shape[1]).repeat(2)
        named = F.cross_entropy(logits.float(), classes)
        return metric + named, {**values, "classification": named}


class _Classified(nn.Module):
    """Returns vectors and class logits from one forward pass, so that DDP can wrap it."""

    def __init__(self, encoder: ResnetIbnEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        pooled = self.encoder.pooled(windows)
        return F.normalize(pooled.float(), dim=1), self.encoder.classifier(pooled)


def triplet(anchors: Tensor, partners: Tensor, same: Tensor, margin: float) -> Tensor:
    """Triplet loss with the hardest negative of each anchor (Hermans et al. 2017, "batch hard"); a scalar.

    anchors, partners: [B, dim], L2-normalised; row b of one is the partner of row b of the other. same: bool [B, B],
    partners that must not be negatives of an anchor. Distances are 1 - cosine. An anchor without negatives adds 0.
    """
    cosines = anchors @ partners.T
    own = cosines.diagonal()
    excluded = same | torch.eye(len(anchors), dtype=torch.bool, device=same.device)
    hardest = cosines.masked_fill(excluded, -torch.inf).amax(1)
    return (hardest - own + margin).clamp(min=0).mean()


def encoder_task(model: Fingerprinter, training: TrainingConfig) -> EncoderTask:
    """The training task for the encoder of `model`. Raises ValueError if it is fitted in closed form instead."""
    if model.config.model.encoder.trained_by == "triplet":
        return ResnetTask(model, training)
    return EncoderTask(model, training)
