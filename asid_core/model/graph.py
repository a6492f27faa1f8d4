"""The dilated k-nearest-neighbour graph over a window's nodes, and the max-relative convolution on it.

arXiv:2506.14684 section 3.2; the convolution is that of DeepGCNs (Li et al. 2019) in the form Vision GNN uses.
Nodes are `[B, N, C]` throughout, so every 1x1 convolution is one matrix product over B * N rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing


@torch.no_grad()
def dilated_neighbours(nodes: Tensor, k: int, dilation: int = 1, ties_as_published: bool = True) -> Tensor:
    """Nodes [B, N, C] -> indices [B, N, k'] of every `dilation`-th of the k * dilation nearest, self included.

    k' = k, less only where a window has fewer than k * dilation nodes. Near-ties are broken as the authors' outputs are
    (1e-6 block by block, against 1e-3). Training has no need of that, and saves half the time of the search.
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
    """Indices [B, N, count] of the nearest of nodes [B, N, C], on a CPU, with NumPy's vectorised partition."""
    # distances up to a constant of each row
    distances = torch.baddbmm(nodes.square().sum(2)[:, None], nodes, nodes.transpose(1, 2), alpha=-2)
    partitioned = np.argpartition(distances.numpy(), count - 1, axis=2)[..., :count]
    indices = torch.from_numpy(np.ascontiguousarray(partitioned))
    if not in_order:
        return indices
    return indices.gather(2, distances.gather(2, indices).argsort(dim=2))


def drop_edges(neighbours: Tensor, p: float) -> Tensor:
    """Indices [B, N, k] with each edge, at probability `p`, turned into the node's edge to itself.

    A node's own edge contributes x_i - x_i = 0 and is always among its k nearest, so this is dropping every other edge
    with probability p, and every node keeps the same number of edges.
    """
    own = torch.arange(neighbours.shape[1], device=neighbours.device).view(1, -1, 1)
    return torch.where(torch.rand(neighbours.shape, device=neighbours.device) < p, own, neighbours)


def edge_index(neighbours: Tensor) -> Tensor:
    """Neighbours [B, N, k] -> PyG edges [2, B * N * k] (source, target) of the B graphs laid end to end."""
    batch, num_nodes, k = neighbours.shape
    first = torch.arange(batch, device=neighbours.device).view(-1, 1, 1) * num_nodes
    targets = torch.arange(batch * num_nodes, device=neighbours.device).repeat_interleave(k)
    return torch.stack([(neighbours + first).reshape(-1), targets])


class NeighbourMinimum(torch.autograd.Function):
    """Minimum over each node's neighbours, for nodes that all have as many of them.

    Its backward pass takes one neighbour after the other, so gradients never take up [M, k, C]: two thirds of the time
    of autograd's own, which splits the gradient between equal minima. Here the first of them gets all.
    """

    @staticmethod
    def forward(context: Any, nodes: Tensor, neighbours: Tensor) -> Tensor:
        """Nodes [M, C], rows of neighbours int64 [M, k] -> [M, C]."""
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
            mine = left.masked_fill(nodes.index_select(0, rows) != lowest, 0)
            total.index_add_(0, rows, mine)
            left = left - mine
        return total, None


class MaxRelativeConvolution(MessagePassing):
    """ReLU(W [x_i ; max_j (x_i - x_j)]), C -> 2C, over each node's neighbours j.

    The maximum is x_i - min_j x_j, so only the neighbours' own features travel along edges, and `propagate` is fused.
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
        """Minimum of `x` [B * N, C] over `edge_index`, neighbours [B, N, k]: message and aggregation in one."""
        batch, num_nodes, k = edge_index.shape
        first = torch.arange(batch, device=edge_index.device).view(-1, 1, 1) * num_nodes
        lowest: Tensor = NeighbourMinimum.apply(inputs["x"], (edge_index + first).view(-1, k))
        return lowest
