"""Opening the graph blocks of an encoder that was trained without them, so that at first nothing changes."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from asid_core.config import Config
from asid_core.model.encoder import Downsample, GnnEncoder, GraphBlock
from asid_core.model.fingerprinter import Fingerprinter


def with_graph_blocks(config: Config, graph_blocks: bool) -> Config:
    """The same config with the blocks on or off. Raises ValueError for an encoder that has none."""
    encoder = config.model.encoder
    if encoder.kind != "gnn":
        raise ValueError(f"encoder.kind {encoder.kind} has no graph blocks")
    return replace(config, model=replace(config.model, encoder=replace(encoder, graph_blocks=graph_blocks)))


@torch.no_grad()
def from_discriminant(config: Config, start: Fingerprinter) -> Fingerprinter:
    """A fresh model of `config` (head gains) whose vectors are those of `start`, or its first dimensions.

    Raises ValueError where their windows or dimensions do not fit.
    """
    given = start.config.model
    if not config.model.encoder.starts_from_projection or given.encoder.trained_by != "discriminant":
        raise ValueError("only encoder.head gains starts from a projection, and from that of a discriminant")
    model = Fingerprinter(config)
    wanted, found = model.encoder.projection(), start.encoder.projection()
    if config.model.front_end != given.front_end or len(found) < len(wanted):
        raise ValueError(f"the projection to start from is of other windows, or has less than {len(wanted)} dimensions")
    # the vectors' length means nothing: at a root mean square of 0.1, a step of Adam at 2e-3 is 2 % of an entry
    wanted.copy_(found[: len(wanted)] * (0.1 / found.square().mean().sqrt()))
    return model


@torch.no_grad()
def open_blocks(closed: Fingerprinter, patches: Tensor) -> Fingerprinter:
    """A copy with graph blocks that at first computes what `closed` does.

    Both branches of a block start at zero (their last batch norm's scale is 0), and its own batch norm starts as the
    identity: scale and shift are deviation and mean of its input over `patches` [B, F, W], a batch of training. The
    ReLU behind it would cut off what the stem leaves below zero (HR@1 fell from 0.38 to 0.30), so before the first
    downsample everything is lifted above zero, and that convolution's bias takes the lift back, but at the padding.
    The graph-less network trains twenty times as fast on a CPU, and this starts the GNN where it ended.
    """
    model = Fingerprinter(with_graph_blocks(closed.config, True)).to(closed.device)
    model.load_state_dict(closed.state_dict())
    encoder = cast(GnnEncoder, model.encoder.eval())  # any other has no graph blocks to switch on
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
    """Make the block return its input `nodes` [B, N, C] plus `lift` [C], where that is not negative."""
    variance, mean = torch.var_mean(nodes.flatten(0, 1), dim=0)
    block.norm.running_mean, block.norm.running_var = mean.clone(), variance.clone()
    block.norm.weight.copy_((variance + block.norm.eps).sqrt())
    block.norm.bias.copy_(mean + lift)
    for branch in (block.leave.norm, block.narrow.norm):
        assert isinstance(branch, torch.nn.BatchNorm1d)
        branch.weight.zero_()
        branch.bias.zero_()
