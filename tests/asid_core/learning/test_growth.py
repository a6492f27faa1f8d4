from dataclasses import replace

import torch

from asid_core.config import GnnConfig, load
from asid_core.learning.growth import open_blocks, with_graph_blocks
from asid_core.model.fingerprinter import Fingerprinter


def test_opened_blocks_change_nothing_at_first_and_then_learn() -> None:
    torch.manual_seed(0)
    config = load("gnn-paper")
    small = GnnConfig(channels=(8, 16), blocks=(1, 1), pooled_dim=16, hidden_dim=32, dim=8)
    config = replace(
        config, model=replace(config.model, encoder=small, reranker=replace(config.model.reranker, heads=0))
    )
    closed = Fingerprinter(with_graph_blocks(config, False))
    patches = torch.rand(16, 64, 128)
    for _ in range(20):
        closed.train().encoder(patches)  # running averages of the batch norms
    closed.eval()
    opened = open_blocks(closed, patches).eval()
    assert opened.config.model.encoder.graph_blocks  # type: ignore[union-attr]
    same = torch.cosine_similarity(opened.encoder(patches)[0], closed.encoder(patches)[0])
    # but for the padding of the first downsample
    assert same.min() > 0.98 and same.mean() > 0.99
    opened.train().encoder(patches)[0].square().sum().backward()
    assert all(p.grad is not None for p in opened.encoder.parameters())
