"""What is trained, the encoder or the reranker: its parameters, its loss, and what tells whether it got better."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asid_core.config import TrainingConfig
from asid_core.learning import losses
from asid_core.learning.front_end_spectra import spectra_of
from asid_core.learning.negative_queue import NegativeQueue
from asid_core.learning.pairs import Batch, Pairs, make_pairs, second_references
from asid_core.learning.spectra import Spectra
from asid_core.model.fingerprinter import Fingerprinter
from asid_core.model.reranker import Reranker

NEGATIVES = 3  # a pair, the paper's
QUEUE_WINDOWS = 2048  # of the last references, searched for negatives as well: 32 MB of log-mel windows
VALIDATION_BATCH = 64


class Task(Protocol):
    """One thing to train."""

    name: str
    model: Fingerprinter
    module: nn.Module  # what has the parameters that train; the loop may wrap it, so the loss is given it
    half: bool  # whether bfloat16 is good enough

    def spectra(self) -> Spectra:
        """What makes pairs of waveforms, on the CPU."""

    def pairs(self, batch: Batch, spectra: Spectra, difficulty: float) -> Pairs:
        """Pairs of a batch, on its device."""

    def loss(
        self, module: nn.Module, pairs: Pairs, gather: losses.Gather | None, rank: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar to minimise, and scalars worth a curve."""

    def validate(self, pairs: Pairs) -> dict[str, float]:
        """Figures on pairs that are never trained on; `score` among them is the one that tells the best weights."""

    def train(self) -> None:
        """Put what trains in training mode, and nothing else."""


class WindowTask:
    """Trains on windows of the model's own front end."""

    def __init__(self, model: Fingerprinter, training: TrainingConfig) -> None:
        self.model, self.training = model, training

    def spectra(self) -> Spectra:
        """Those of the model's front end."""
        return spectra_of(self.model.front_end, self.training.augmentation.semitones)

    def pairs(self, batch: Batch, spectra: Spectra, difficulty: float) -> Pairs:
        """As `make_pairs`."""
        return make_pairs(batch, spectra, self.training, difficulty)


class EncoderTask(WindowTask):
    """Contrastive training of a GNN encoder."""

    name = "encoder"
    half = True

    def __init__(self, model: Fingerprinter, training: TrainingConfig) -> None:
        """Raises ValueError for a model whose encoder has nothing to train by gradient."""
        if model.config.model.encoder.is_fitted:
            raise ValueError("a linear encoder is fitted, not trained")
        super().__init__(model, training)
        self.module: nn.Module = model.encoder

    def loss(
        self, module: nn.Module, pairs: Pairs, gather: losses.Gather | None, rank: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Both sides go through the module at once, so that batch norms see both."""
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
        """HR@1 and MRR of each query's own reference among all, same-track repetitions left out."""
        self.model.eval()
        references, queries = (
            torch.cat([self.model.encoder(some)[0] for some in side.split(VALIDATION_BATCH)])
            for side in (pairs.references, pairs.queries)
        )
        found = {key: float(value) for key, value in retrieval(queries, references, pairs.ambiguous).items()}
        return {**found, "score": found["mrr"]}

    def train(self) -> None:
        self.module.train()


class RerankerTask(WindowTask):
    """Training of the reranker on the nodes of a frozen encoder (arXiv:2506.14684 section 3.4)."""

    name = "reranker"
    half = False  # on the same pairs an AUC of 0.74 fell to 0.51: what it must tell apart is lost in 8 bits

    def __init__(self, model: Fingerprinter, training: TrainingConfig) -> None:
        """Raises ValueError for a model without a reranker of kind `attention`."""
        if not isinstance(model.reranker, Reranker):
            raise ValueError("the model has no reranker of nodes: set model.reranker.heads to 4")
        super().__init__(model, training)
        self.reranker = model.reranker
        self.module: nn.Module = _Logits(model.reranker)
        self.negatives = NegativeQueue(QUEUE_WINDOWS)

    def loss(
        self, module: nn.Module, pairs: Pairs, gather: losses.Gather | None, rank: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Binary cross-entropy of each pair and of its query with the hardest other references this worker has seen."""
        logits, labels = self._judged(module, pairs)
        # one positive for three negatives: weighted alike, so that 0.5 is where both are as likely
        weights = torch.where(labels > 0, float(NEGATIVES), 1.0)
        loss = F.binary_cross_entropy_with_logits(logits, labels, weights)
        return loss, {"accuracy": ((logits > 0) == (labels > 0)).float().mean()}

    @torch.no_grad()
    def validate(self, pairs: Pairs) -> dict[str, float]:
        """Accuracy over both classes alike, AUC of pairs against hard negatives."""
        self.model.eval()
        logits, labels = self._judged(self.module.eval(), pairs)
        positive, negative = logits[labels > 0], logits[labels == 0]
        auc = losses.area_under_curve(positive, negative)
        balanced = ((positive > 0).float().mean() + (negative <= 0).float().mean()) / 2
        return {"auc": auc, "accuracy": float(balanced), "score": auc}

    def train(self) -> None:
        self.model.eval()
        self.module.train()

    def _judged(self, module: nn.Module, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """(logits, labels) [B * 4]: the pairs, then each query with its hardest negatives.

        While it trains these come from the batch and from the references of batches before, searched as a catalogue is.
        """
        with torch.no_grad():
            (reference_vectors, reference_nodes), (query_vectors, query_nodes) = (
                self._encoded(side) for side in (pairs.references, pairs.queries)
            )
            excluded = pairs.ambiguous
            if pairs.second is not None:  # the other true reference is no negative either
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
        """(vectors, nodes) of patches [n, F, W], by the frozen encoder."""
        vectors, nodes = zip(*(self.model.encoder(some) for some in patches.split(VALIDATION_BATCH)), strict=True)
        return torch.cat(vectors), torch.cat(nodes)


@torch.no_grad()
def attend_to_likeness(reranker: Reranker) -> None:
    """Start a fresh reranker with keys made as queries are, so that attention goes to nodes that are alike.

    On easy pairs against hard negatives, 120 steps of 48 pairs then gave an AUC of 0.975, against 0.81 from independent
    queries and keys.
    """
    weights = reranker.attention.in_proj_weight
    channels = reranker.attention.embed_dim
    weights[channels : 2 * channels] = weights[:channels]


class _Logits(nn.Module):
    """The reranker before its sigmoid, as a module's forward: what DDP can wrap."""

    def __init__(self, reranker: nn.Module) -> None:
        super().__init__()
        self.reranker = reranker

    def forward(self, queries: Tensor, references: Tensor) -> Tensor:
        logits: Tensor = self.reranker.logits(queries, references)  # type: ignore[operator]
        return logits


@torch.no_grad()
def retrieval(queries: Tensor, references: Tensor, ambiguous: Tensor) -> dict[str, Tensor]:
    """hr1 and mrr, the mean reciprocal rank of each query's one reference, ties counted against."""
    similarities = F.normalize(queries.float(), dim=1) @ F.normalize(references.float(), dim=1).T
    own = similarities.diagonal().clone()[:, None]
    ranks = (similarities.masked_fill(ambiguous, -2) >= own).sum(1).clamp(min=1)
    return {"hr1": (ranks == 1).float().mean(), "mrr": (1 / ranks).mean()}
