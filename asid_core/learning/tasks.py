"""Training tasks (encoder, reranker): the parameters to train, the loss, and the validation figures."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asid_core.config import TrainingConfig
from asid_core.learning import losses
from asid_core.learning.growth import with_leading_first
from asid_core.learning.negative_queue import NegativeQueue
from asid_core.learning.pairs import Pairs, second_references
from asid_core.model.fingerprinter import Fingerprinter
from asid_core.model.reranker import Reranker

NEGATIVES = 3  # per pair, as in the paper
QUEUE_WINDOWS = 2048  # earlier references that are also searched for negatives; 32 MB of log-mel windows


class Task(Protocol):
    """One thing to train."""

    name: str
    model: Fingerprinter
    module: nn.Module  # holds the parameters to train; the loop may wrap it and pass the wrapper to `loss`
    half: bool  # whether bfloat16 is precise enough

    def loss(
        self, module: nn.Module, pairs: Pairs, gather: losses.Gather | None, rank: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar to minimise, and scalars to plot. `gather` and `rank` as in losses.nt_xent."""

    def validate(self, pairs: Pairs) -> dict[str, float]:
        """Figures on validation pairs. The figure `score` decides which weights are best."""

    def train(self) -> None:
        """Set only the trained parts to training mode."""

    def finished(self, pairs: Pairs) -> Fingerprinter:
        """The model to save. pairs: as for `validate`."""


class EncoderTask:
    """Contrastive training of a GNN encoder."""

    name = "encoder"
    half = True

    def __init__(self, model: Fingerprinter, training: TrainingConfig) -> None:
        """Raises ValueError for a model whose encoder is fitted in closed form."""
        if model.config.model.encoder.is_fitted:
            raise ValueError("a linear encoder is fitted in closed form, not trained")
        self.model, self.training = model, training
        self.module: nn.Module = model.encoder

    def loss(
        self, module: nn.Module, pairs: Pairs, gather: losses.Gather | None, rank: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The contrastive loss. Both sides pass through the module together, so that batch norms see both."""
        vectors, _ = module(torch.cat([pairs.references, pairs.queries]))
        references, queries = vectors.chunk(2)
        temperature = self.training.temperature
        if pairs.second is None:
            loss = losses.nt_xent(references, queries, temperature, gather, rank, pairs.ambiguous)
        else:
            loss = losses.two_references(queries, references, pairs.second, temperature, gather, rank, pairs.ambiguous)
        return loss, {"accuracy": retrieval(queries, references, pairs.ambiguous)["hr1"]}

    @torch.no_grad()
    def validate(self, pairs: Pairs) -> dict[str, float]:
        """HR@1 and MRR of each query's own reference among all; repetitions within a track are left out."""
        self.model.eval()
        references, queries = (
            torch.cat([self.model.encoder(some)[0] for some in side.split(self.model.windows_per_batch)])
            for side in (pairs.references, pairs.queries)
        )
        figures = {key: float(value) for key, value in retrieval(queries, references, pairs.ambiguous).items()}
        return {**figures, "score": figures["mrr"]}

    def train(self) -> None:
        self.module.train()

    def finished(self, pairs: Pairs) -> Fingerprinter:
        if not self.model.config.model.encoder.starts_from_projection:
            return self.model
        return with_leading_first(self.model, pairs.references, pairs.queries)


class RerankerTask:
    """Training of the reranker on the nodes of a frozen encoder (arXiv:2506.14684, section 3.4)."""

    name = "reranker"
    half = False  # bfloat16 loses the small differences between nodes that matter here

    def __init__(self, model: Fingerprinter, training: TrainingConfig) -> None:
        """Raises ValueError for a model without a reranker of kind `attention`."""
        if not isinstance(model.reranker, Reranker):
            raise ValueError("the model has no reranker of nodes; set model.reranker.heads to 4")
        self.model, self.training = model, training
        self.reranker = model.reranker
        self.module: nn.Module = _Logits(model.reranker)
        self.negatives = NegativeQueue(QUEUE_WINDOWS)

    def loss(
        self, module: nn.Module, pairs: Pairs, gather: losses.Gather | None, rank: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Binary cross-entropy of each pair, and of its query with the hardest other references of this worker."""
        logits, labels = self._judged(module, pairs)
        loss, accuracy = losses.balanced_cross_entropy(logits, labels)
        return loss, {"accuracy": accuracy}

    @torch.no_grad()
    def validate(self, pairs: Pairs) -> dict[str, float]:
        """Balanced accuracy, and AUC of pairs against hard negatives."""
        self.model.eval()
        logits, labels = self._judged(self.module.eval(), pairs)
        positive, negative = logits[labels > 0], logits[labels == 0]
        auc = losses.area_under_curve(positive, negative)
        balanced = ((positive > 0).float().mean() + (negative <= 0).float().mean()) / 2
        return {"auc": auc, "accuracy": float(balanced), "score": auc}

    def train(self) -> None:
        self.model.eval()
        self.module.train()

    def finished(self, pairs: Pairs) -> Fingerprinter:
        return self.model

    def _judged(self, module: nn.Module, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """(logits, labels), [B * 4] each: the pairs, then each query with its hardest negatives.

        In training, negatives come from the batch and from references of earlier batches.
        """
        with torch.no_grad():
            (reference_vectors, reference_nodes), (query_vectors, query_nodes) = (
                self._encoded(side) for side in (pairs.references, pairs.queries)
            )
            excluded = pairs.ambiguous
            if pairs.second is not None:  # the second true reference is not a negative either
                excluded = excluded | second_references(len(pairs), excluded.device)
            track = pairs.track if module.training else None
            queue = self.negatives
            if track is not None and len(queue):
                own = [track] if pairs.second is None else [track, track.roll(1)]
                excluded = torch.cat([excluded, queue.of_tracks(own)], dim=1)
                vectors = torch.cat([reference_vectors, queue.vectors])
                wrong = losses.hardest_negatives(query_vectors, vectors, NEGATIVES, excluded).flatten()
                asked, at = wrong.unique(return_inverse=True)
                far = asked[asked >= len(pairs)] - len(pairs)
                near = reference_nodes[asked[asked < len(pairs)]]
                wrong_nodes = torch.cat([near, self._encoded(queue.patches[far])[1]] if len(far) else [near])[at]
            else:
                wrong = losses.hardest_negatives(query_vectors, reference_vectors, NEGATIVES, excluded)
                wrong_nodes = reference_nodes[wrong.flatten()]
            if track is not None:
                queue.add(pairs.references, reference_vectors, track)
            queries = torch.cat([query_nodes, query_nodes.repeat_interleave(NEGATIVES, 0)])
            references = torch.cat([reference_nodes, wrong_nodes])
        labels = torch.zeros(len(queries), device=queries.device)
        labels[: len(pairs)] = 1
        return module(queries.float(), references.float()).float(), labels

    def _encoded(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors [n, dim] and nodes [n, C, N] of patches [n, F, W], from the frozen encoder."""
        parts = patches.split(self.model.windows_per_batch)
        vectors, nodes = zip(*(self.model.encoder(some) for some in parts), strict=True)
        return torch.cat(vectors), torch.cat(nodes)


@torch.no_grad()
def attend_to_likeness(reranker: Reranker) -> None:
    """Initialise the key projection of a new reranker with its query projection, so that similar nodes attend.

    This makes training much faster than independent initial projections.
    """
    weights = reranker.attention.in_proj_weight
    channels = reranker.attention.embed_dim
    weights[channels : 2 * channels] = weights[:channels]


class _Logits(nn.Module):
    """The reranker without its sigmoid, as a module that DDP can wrap."""

    def __init__(self, reranker: nn.Module) -> None:
        super().__init__()
        self.reranker = reranker

    def forward(self, queries: Tensor, references: Tensor) -> Tensor:
        logits: Tensor = self.reranker.logits(queries, references)  # type: ignore[operator]
        return logits


@torch.no_grad()
def retrieval(queries: Tensor, references: Tensor, ambiguous: Tensor) -> dict[str, Tensor]:
    """Hit rate at 1 (hr1) and mean reciprocal rank (mrr) of each query's reference, with ties counted as worse.

    queries, references [B, dim]; ambiguous bool [B, B]: references to leave out.
    """
    similarities = F.normalize(queries.float(), dim=1) @ F.normalize(references.float(), dim=1).T
    own = similarities.diagonal().clone()[:, None]
    ranks = (similarities.masked_fill(ambiguous, -2) >= own).sum(1).clamp(min=1)
    return {"hr1": (ranks == 1).float().mean(), "mrr": (1 / ranks).mean()}
