import tempfile
from pathlib import Path

import pytest
import torch
from torch_geometric.nn import MessagePassing

from asid_core.model.graph import (
    MaxRelativeConvolution,
    NeighbourMinimum,
    NeighbourMinimumOnGpu,
    dilated_neighbours,
    drop_edges,
    edge_index,
)


class EdgeFeatures(MessagePassing):
    """The convolution in its textbook form: one message x_i - x_j per edge, reduced by a scattered maximum."""

    def __init__(self) -> None:
        super().__init__(aggr="max")

    def forward(self, nodes: torch.Tensor, neighbours: torch.Tensor) -> torch.Tensor:
        return self.propagate(edge_index(neighbours), x=nodes.flatten(0, 1)).view_as(nodes)

    def message(self, x_i: torch.Tensor, x_j: torch.Tensor) -> torch.Tensor:
        return x_i - x_j


def reference(convolution: MaxRelativeConvolution, nodes: torch.Tensor, neighbours: torch.Tensor) -> torch.Tensor:
    return convolution.linear(torch.cat([nodes, EdgeFeatures()(nodes, neighbours)], dim=2)).relu()


def test_minimum_of_neighbours_equals_maximum_over_edges_with_gradients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # PyG writes a module for EdgeFeatures, and leaves it there
    torch.manual_seed(0)
    nodes = torch.randn(3, 40, 6, requires_grad=True)
    neighbours = dilated_neighbours(nodes, 5, 2)
    convolution = MaxRelativeConvolution(6)
    ours, theirs = convolution(nodes, neighbours), reference(convolution, nodes, neighbours)
    assert torch.allclose(ours, theirs, atol=1e-6)
    weights = torch.randn_like(ours)
    mine, other = (torch.autograd.grad((output * weights).sum(), nodes)[0] for output in (ours, theirs))
    assert torch.allclose(mine, other, atol=1e-5)


def test_minimum_is_the_same_on_a_gpu() -> None:
    torch.manual_seed(0)
    nodes = torch.randn(40, 6, requires_grad=True)
    neighbours, weights = torch.randint(40, (40, 5)), torch.randn(40, 6)
    outputs = [minimum.apply(nodes, neighbours) for minimum in (NeighbourMinimum, NeighbourMinimumOnGpu)]
    assert torch.equal(outputs[0], outputs[1])
    gradients = [torch.autograd.grad((output * weights).sum(), nodes)[0] for output in outputs]
    assert torch.allclose(gradients[0], gradients[1], atol=1e-5)


@pytest.mark.parametrize("ties_as_published", [True, False])
@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_neighbours_are_every_dilation_th_nearest_and_begin_with_the_node(
    dilation: int, ties_as_published: bool
) -> None:
    torch.manual_seed(0)
    nodes = torch.randn(2, 50, 4)
    by_distance = torch.cdist(nodes.double(), nodes.double()).argsort(dim=2)
    found = dilated_neighbours(nodes, 5, dilation, ties_as_published)
    expected = by_distance[:, :, : 5 * dilation : dilation]
    assert torch.equal(found.sort(dim=2).values, expected.sort(dim=2).values)
    assert (found == torch.arange(50)[:, None]).any(2).all()


def test_fewer_nodes_than_wanted_neighbours() -> None:
    nodes = torch.randn(2, 7, 4)
    neighbours = dilated_neighbours(nodes, 5, 3)
    assert neighbours.shape == (2, 7, 3)
    assert MaxRelativeConvolution(4)(nodes, neighbours).shape == (2, 7, 8)


def test_dropped_edges_lead_to_the_node_itself() -> None:
    torch.manual_seed(0)
    neighbours = dilated_neighbours(torch.randn(4, 200, 4), 5)
    kept = drop_edges(neighbours, 0.2)
    changed = kept != neighbours
    own = torch.arange(200)[:, None].expand_as(kept)
    assert torch.equal(kept[changed], own[changed])
    # of five edges one leads to the node itself already
    assert abs(changed.float().mean().item() - 0.2 * 4 / 5) < 0.02


@pytest.mark.parametrize("minimum", [NeighbourMinimum, NeighbourMinimumOnGpu])
def test_of_equal_minima_one_has_the_gradient(minimum: type[torch.autograd.Function]) -> None:
    nodes = torch.tensor([[1.0], [1.0], [2.0]], requires_grad=True)
    lowest = minimum.apply(nodes, torch.tensor([[0, 0, 1], [2, 1, 0], [2, 2, 2]]))
    assert lowest.tolist() == [[1.0], [1.0], [2.0]]
    (gradient,) = torch.autograd.grad(lowest.sum(), nodes)
    assert gradient.tolist() == [[1.0], [1.0], [1.0]]
