"""The dilated k-nearest-neighbour graph over a window's nodes, and the max-relative convolution on it.

Sources: arXiv:2506.14684, section 3.2; DeepGCNs (Li et al. 2019), in the form used by Vision GNN. Nodes are [B, N, C]
throughout, so that a 1x1 convolution is one matrix product over B * N rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing


@torch.no_grad()
def dilated_neighbours(nodes: Tensor, k: int, dilation: int = 1, ties_as_published: bool = True) -> Tensor:
    """Nodes [B, N, C] -> indices [B, N, k'] of every `dilation`-th of the k * dilation nearest, including the node.

    k' is k, or less if a window has fewer than k * dilation nodes. ties_as_published: break near-ties as the authors'
    code does, which reproduces their outputs; training does without, in half the time.
    """
    wanted, in_order = min(k * dilation, nodes.shape[1]), dilation > 1
    # float32, because bfloat16's 8 bits would reorder neighbours
    with torch.autocast(nodes.device.type, enabled=False):
        wide = nodes.float()
        if ties_as_published or nodes.device.type != "cpu":
            distances = torch.cdist(wide, wide, compute_mode="use_mm_for_euclid_dist")
            nearest = distances.topk(wanted, largest=False, sorted=in_order).indices
        else:
            nearest = _partitioned(wide, wanted, in_order)
    return nearest[:, :, ::dilation]


def _partitioned(nodes: Tensor, count: int, in_order: bool) -> Tensor:
    """Indices [B, N, count] of the nearest nodes of [B, N, C], on a CPU, with NumPy's vectorised partition."""
    # squared distances, without a term that is constant in each row
    distances = torch.baddbmm(nodes.square().sum(2)[:, None], nodes, nodes.transpose(1, 2), alpha=-2)
    partitioned = np.argpartition(distances.numpy(), count - 1, axis=2)[..., :count]
    indices = torch.from_numpy(np.ascontiguousarray(partitioned))
    if not in_order:
        return indices
    return indices.gather(2, distances.gather(2, indices).argsort(dim=2))


def drop_edges(neighbours: Tensor, p: float) -> Tensor:
    """Replace each edge of the indices [B, N, k], with probability `p`, by the node's edge to itself.

    That edge contributes x_i - x_i = 0 and is always among the k nearest, so this drops edges while every node keeps
    the same number of them.
    """
    own = torch.arange(neighbours.shape[1], device=neighbours.device).view(1, -1, 1)
    return torch.where(torch.rand(neighbours.shape, device=neighbours.device) < p, own, neighbours)


def edge_index(neighbours: Tensor) -> Tensor:
    """Neighbours [B, N, k] -> PyG edges [2, B * N * k] (source, target) of the B concatenated graphs."""
    batch, num_nodes, k = neighbours.shape
    first = torch.arange(batch, device=neighbours.device).view(-1, 1, 1) * num_nodes
    targets = torch.arange(batch * num_nodes, device=neighbours.device).repeat_interleave(k)
    return torch.stack([(neighbours + first).reshape(-1), targets])


class NeighbourMinimum(torch.autograd.Function):
    """Minimum over each node's neighbours, for nodes with equal numbers of neighbours.

    The backward pass handles one neighbour after the other, so that no tensor [M, k, C] is needed; this is faster than
    autograd. Of equal minima, the first gets the whole gradient.
    """

    @staticmethod
    def forward(context: Any, nodes: Tensor, neighbours: Tensor) -> Tensor:
        """Nodes [M, C] and indices of neighbours int64 [M, k] -> minima [M, C]."""
        gathered = nodes.index_select(0, neighbours.flatten())
        lowest = gathered.view(*neighbours.shape, -1).amin(1)
        context.save_for_backward(nodes, neighbours, lowest)
        return lowest

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        nodes, neighbours, lowest = context.saved_tensors
        (left,) = gradients
        total = torch.zeros_like(nodes)
        for rows in neighbours.unbind(1):
            mine = left * (nodes.index_select(0, rows) == lowest)  # masked_fill takes twice as long
            total.index_add_(0, rows, mine)
            left = left - mine
        return total, None


class NeighbourMinimumOnGpu(torch.autograd.Function):
    """As `NeighbourMinimum`, but keeps which neighbour is lowest, so that the backward pass is one scattered addition.

    Of equal minima, any one gets the whole gradient.
    """

    @staticmethod
    def forward(context: Any, nodes: Tensor, neighbours: Tensor) -> Tensor:
        """Nodes [M, C] and indices of neighbours int64 [M, k] -> minima [M, C]."""
        gathered = nodes.index_select(0, neighbours.flatten())
        lowest, which = gathered.view(*neighbours.shape, -1).min(1)
        context.save_for_backward(neighbours.gather(1, which))
        return lowest

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (rows,), (gradient,) = context.saved_tensors, gradients
        return torch.zeros_like(gradient).scatter_add_(0, rows, gradient), None


class MaxRelativeConvolution(MessagePassing):
    """ReLU(W [x_i ; max_j (x_i - x_j)]) over the neighbours j of each node, C -> 2C channels.

    The maximum equals x_i - min_j x_j, so messages are the neighbours' features alone, and `propagate` is one step.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(aggr="min")
        self.linear = nn.Linear(2 * channels, 2 * channels)

    def forward(self, nodes: Tensor, neighbours: Tensor) -> Tensor:
        """Nodes [B, N, C], neighbours [B, N, k] -> [B, N, 2C]."""
        flat = nodes.reshape(-1, nodes.shape[-1])
        relative = flat - self.propagate(neighbours, x=flat)
        output: Tensor = self.linear(torch.cat([flat, relative], dim=1)).relu()
        return output.view(*nodes.shape[:2], -1)

    def propagate(self, edge_index: Tensor, size: tuple[int, int] | None = None, **inputs: Any) -> Tensor:
        """Minimum of `x` [B * N, C] over the neighbours `edge_index` [B, N, k]: message and aggregation in one step."""
        batch, num_nodes, k = edge_index.shape
        first = torch.arange(batch, device=edge_index.device).view(-1, 1, 1) * num_nodes
        minimum = NeighbourMinimum if edge_index.device.type == "cpu" else NeighbourMinimumOnGpu
        lowest: Tensor = minimum.apply(inputs["x"], (edge_index + first).view(-1, k))
        return lowest
