"""Adds graph blocks to an encoder that was trained without them, so that its output does not change at first."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from asid_core.config import Config, RerankerConfig, ScoreConfig
from asid_core.model.encoder import Downsample, GnnEncoder, GraphBlock
from asid_core.model.fingerprinter import Fingerprinter


def with_graph_blocks(config: Config, graph_blocks: bool) -> Config:
    """The config with graph blocks on or off. Raises ValueError for an encoder that has none."""
    encoder = config.model.encoder
    if encoder.kind != "gnn":
        raise ValueError(f"encoder.kind {encoder.kind} has no graph blocks")
    return replace(config, model=replace(config.model, encoder=replace(encoder, graph_blocks=graph_blocks)))


@torch.no_grad()
def from_discriminant(config: Config, start: Fingerprinter) -> Fingerprinter:
    """A new model of `config` (head `gains`) with the vectors of `start`, or their first dimensions.

    If both have the same kind of reranker, it goes on. If only `config` has an aligned one, which is trained later, the
    model has none, and the default score, because the config's counts on it. Raises ValueError if their encoders,
    windows or dimensions do not fit.
    """
    given = start.config.model
    if not config.model.encoder.starts_from_projection or given.encoder.trained_by != "discriminant":
        raise ValueError("only encoder.head: gains starts from a projection, which must be of a discriminant encoder")
    if config.model.reranker.kind == "aligned" and start.reranker is None:
        config = replace(config, model=replace(config.model, reranker=RerankerConfig(heads=0)), score=ScoreConfig())
    model = Fingerprinter(config)
    if model.reranker is not None and given.reranker == config.model.reranker and start.reranker is not None:
        model.reranker.load_state_dict(start.reranker.state_dict())
    target, source = model.encoder.projection(), start.encoder.projection()
    if config.model.front_end != given.front_end or len(source) < len(target):
        raise ValueError(f"the given projection is for other windows, or has fewer than {len(target)} dimensions")
    # scale to an RMS of 0.1, at which Adam's steps are small; the vectors are normalised anyway
    target.copy_(source[: len(target)] * (0.1 / source.square().mean().sqrt()))
    return model


@torch.no_grad()
def with_leading_first(model: Fingerprinter, references: Tensor, queries: Tensor) -> Fingerprinter:
    """A copy whose vectors are rotated so that the leading dimensions agree most within pairs; cosines stay.

    A first pass looks at these alone. Training forgets their order. references, queries: patches [n, F, W] of pairs.
    """
    copy = deepcopy(model).eval()
    mine, others = (
        torch.cat([copy.encoder(some)[0] for some in side.split(copy.windows_per_batch)]).double()
        for side in (references, queries)
    )
    together = mine.T @ others
    rotation = torch.linalg.eigh(together + together.T).eigenvectors.flip(1).T
    projection = copy.encoder.projection()
    projection.copy_(rotation.to(projection) @ projection)
    return copy


@torch.no_grad()
def open_blocks(closed: Fingerprinter, patches: Tensor) -> Fingerprinter:
    """A copy of `closed` with graph blocks, which computes the same output at first.

    Both branches of a block start at zero (the scale of their last batch norm is 0). Its own batch norm starts as the
    identity: its scale and shift are the standard deviation and mean of its input over `patches` [B, F, W], a training
    batch. The ReLU after it would cut off negative outputs of the stem, so everything before the first downsample is
    raised above zero, and the bias of that convolution subtracts this again, except at the padding.
    This way, most of the training can use the much faster network without graph blocks.
    """
    model = Fingerprinter(with_graph_blocks(closed.config, True)).to(closed.device)
    model.load_state_dict(closed.state_dict())
    encoder = cast(GnnEncoder, model.encoder.eval())  # with_graph_blocks has checked the kind
    nodes = F.leaky_relu(encoder.stem(encoder.patches(patches)), 0.2)
    lift = (-nodes.amin((0, 1))).clamp(min=0)
    raised = torch.zeros_like(lift)
    for layer in encoder.layers:
        if isinstance(layer, GraphBlock):
            _make_identity(layer, nodes, lift - raised)
            raised = lift
        elif isinstance(layer, Downsample) and raised.any():
            assert layer.conv.bias is not None
            layer.conv.bias -= layer.conv.weight.sum(2) @ raised
        nodes = layer(nodes)
        if not isinstance(layer, GraphBlock):
            lift = raised = torch.zeros(nodes.shape[2], device=nodes.device)
    return model


def _make_identity(block: GraphBlock, nodes: Tensor, lift: Tensor) -> None:
    """Make the block return its input `nodes` [B, N, C] plus `lift` [C], if this is not negative."""
    variance, mean = torch.var_mean(nodes.flatten(0, 1), dim=0)
    block.norm.running_mean, block.norm.running_var = mean.clone(), variance.clone()
    block.norm.weight.copy_((variance + block.norm.eps).sqrt())
    block.norm.bias.copy_(mean + lift)
    for branch in (block.leave.norm, block.narrow.norm):
        assert isinstance(branch, torch.nn.BatchNorm1d)
        branch.weight.zero_()
        branch.bias.zero_()
