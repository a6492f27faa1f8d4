from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from asid_core.config import GnnConfig
from asid_core.model.encoder import Downsample, GnnEncoder, folded, num_nodes, scaled_windows
from asid_core.model.published import import_checkpoint
from tests.asid_core.golden import ENCODER_FILE, TINY, TINY_CONFIG, difference, golden


def published(graph_blocks: bool) -> GnnEncoder:
    """The tiny published encoder, with or without the blocks that its authors' code skips."""
    imported = import_checkpoint(ENCODER_FILE, None, TINY_CONFIG).encoder
    encoder = GnnEncoder(replace(TINY, graph_blocks=graph_blocks)).eval()
    encoder.load_state_dict(imported.state_dict())
    return encoder


@torch.no_grad()
def test_every_block_agrees_with_the_authors() -> None:
    encoder = published(graph_blocks=True)
    patches = encoder.patches(golden()["windows"])
    assert difference(patches.transpose(1, 2), golden()["patch_features"]) < 1e-4
    nodes = F.leaky_relu(encoder.stem(patches), 0.2)
    assert difference(nodes.transpose(1, 2), golden()["stem"]) < 1e-4
    assert len(encoder.layers) == 15
    before = golden()["stem"]
    for i, layer in enumerate(encoder.layers):
        # each from the authors' input: a last-bit difference swaps near-equal neighbours, 2e-3 in a node downstream
        after = golden()[f"graph.after_{i:02d}"]
        assert difference(layer(before.transpose(1, 2)).transpose(1, 2), after) < 1e-4, i
        before = after
    assert difference(encoder.pooled(before.transpose(1, 2)), golden()["graph.pooled"]) < 1e-4
    assert difference(encoder(golden()["windows"])[0], golden()["graph.embedding"]) < 1e-4


@torch.no_grad()
def test_the_published_path_agrees_with_the_authors() -> None:
    encoder = published(graph_blocks=False)
    vectors, nodes = encoder(golden()["windows"])
    assert difference(nodes, golden()["published.nodes"]) < 1e-4
    assert difference(encoder.pooled(nodes.transpose(1, 2)), golden()["published.pooled"]) < 1e-4
    assert difference(vectors, golden()["published.embedding"]) < 1e-4


@torch.no_grad()
@pytest.mark.parametrize("graph_blocks", [True, False])
def test_folding_batch_norms_changes_nothing(graph_blocks: bool) -> None:
    encoder = published(graph_blocks)
    vectors, nodes = folded(encoder)(golden()["windows"])
    expected_vectors, expected_nodes = encoder(golden()["windows"])
    assert difference(vectors, expected_vectors) < 1e-5
    assert difference(nodes, expected_nodes) < 2e-3  # near-equal neighbours swapped
    assert not any(isinstance(m, torch.nn.BatchNorm1d) for m in folded(encoder).layers[2].modules())


@torch.no_grad()
@pytest.mark.parametrize("level", [0.0, -100.0, 3.0])
def test_a_constant_window_is_the_zero_vector_and_leaves_the_others_alone(level: float) -> None:
    encoder = published(graph_blocks=True)
    windows = golden()["windows"].clone()
    windows[4] = level
    vectors, nodes = encoder(windows)
    assert torch.equal(vectors[4], torch.zeros(16))
    assert nodes.isfinite().all()
    assert difference(vectors[5], golden()["graph.embedding"][5]) < 1e-4
    assert torch.equal(scaled_windows(windows)[4], torch.zeros(64, 128))


@pytest.mark.parametrize(("bins", "frames", "patch"), [(64, 128, (4, 8)), (78, 25, (3, 2)), (156, 100, (6, 5))])
def test_windows_of_any_size_train(bins: int, frames: int, patch: tuple[int, int]) -> None:
    torch.manual_seed(0)
    config = replace(TINY, patch_bins=patch[0], patch_frames=patch[1])
    encoder = GnnEncoder(config)
    vectors, nodes = encoder(torch.randn(4, bins, frames))
    assert nodes.shape == (4, 64, num_nodes(config, bins, frames))
    assert torch.allclose(vectors.norm(dim=1), torch.ones(4), atol=1e-5)
    (vectors[0] @ vectors[1]).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())


def test_a_window_smaller_than_a_patch_is_refused() -> None:
    with pytest.raises(ValueError, match="patch_bins"):
        num_nodes(TINY, 78, 7)


def test_without_graph_blocks_only_what_is_used_trains() -> None:
    encoder = GnnEncoder(replace(TINY, graph_blocks=False))
    encoder(torch.randn(4, 64, 128))[0].sum().backward()
    for layer in encoder.layers:
        assert all(p.requires_grad == isinstance(layer, Downsample) for p in layer.parameters())
    assert all(p.grad is not None for p in encoder.parameters() if p.requires_grad)


def test_dropped_edges_and_paths_only_in_training() -> None:
    torch.manual_seed(0)
    encoder = published(graph_blocks=True)
    windows = golden()["windows"]
    for norm in (m for m in encoder.modules() if isinstance(m, torch.nn.BatchNorm1d)):
        norm.momentum = 0.0
    assert torch.equal(encoder(windows)[0], encoder(windows)[0])
    encoder.train()
    assert not torch.equal(encoder(windows)[0], encoder(windows)[0])


def test_the_papers_size() -> None:
    assert 20.0e6 < sum(p.numel() for p in GnnEncoder(GnnConfig()).parameters()) < 20.4e6
    assert num_nodes(GnnConfig(), 64, 128) == 32
