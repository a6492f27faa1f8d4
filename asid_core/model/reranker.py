"""The cross-attention classifier: do two windows share a sample? (arXiv:2506.14684, section 3.4)"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asid_core.config import RerankerConfig


class Reranker(nn.Module):
    """Attention from a query window's nodes to a reference window's, then a small classifier."""

    position: Tensor

    def __init__(self, config: RerankerConfig, channels: int, num_nodes: int) -> None:
        """Raises ValueError if `channels` is not a multiple of the number of heads."""
        super().__init__()
        if config.heads < 1 or channels % config.heads:
            raise ValueError(f"reranker.heads must divide the {channels} channels of the nodes, not {config.heads}")
        # fixed, not trained; the authors' checkpoint contains theirs
        self.register_buffer("position", torch.randn(num_nodes, channels))
        self.attention = nn.MultiheadAttention(channels, config.heads, batch_first=True)
        self.classifier = nn.Sequential(
            nn.Linear(channels, config.hidden_dim),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden_dim, 1),
        )

    def logits(self, query_nodes: Tensor, reference_nodes: Tensor) -> Tensor:
        """Nodes [B, C, N] of aligned windows, query first -> log-odds [B]."""
        query = query_nodes.transpose(1, 2) + self.position
        reference = reference_nodes.transpose(1, 2) + self.position
        attended, _ = self.attention(query, reference, reference, need_weights=False)
        logits: Tensor = self.classifier(attended.mean(1))
        return logits.squeeze(1)

    def forward(self, query_nodes: Tensor, reference_nodes: Tensor) -> Tensor:
        """Nodes [B, C, N] of aligned windows, query first -> probability [B] that they share a sample."""
        return self.logits(query_nodes, reference_nodes).sigmoid()
