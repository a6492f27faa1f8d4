"""Training of the aligned reranker: pairs laid over each other as verification lays them, and hard negatives."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asid_core.config import TrainingConfig
from asid_core.learning import losses
from asid_core.learning.filterbank_spectra import LogFrequencySpectra
from asid_core.learning.negative_queue import NegativeQueue
from asid_core.learning.pairs import Batch, Pairs, ambiguous_rows, mixed_bands, second_references
from asid_core.learning.spectra import Spectra
from asid_core.learning.tasks import NEGATIVES, RerankerTask, Task
from asid_core.model.aligned_reranker import CEILING, PATCH, aligned_patches
from asid_core.model.fingerprinter import Fingerprinter
from asid_core.signal.log_frequency import LogFrequencyFrontEnd
from asid_core.signal.probing import centred, shifted, stretched

NEAREST = 12  # wrong references among which the negatives are drawn; the nearest is always one
QUEUE_WINDOWS = 24_576  # of past references: a catalogue offers many more places than a batch
# errors that verification leaves, standard deviations
RATIO_ERROR, SEMITONES_ERROR = 0.004, 0.08
FRAMES_ERROR = 0.7  # uniform, to either side


class AlignedRerankerTask:
    """Training of the reranker of kind `aligned`; the encoder has no part in it."""

    name = "reranker"
    half = False

    def __init__(self, model: Fingerprinter, training: TrainingConfig) -> None:
        """Raises ValueError for a model without such a reranker."""
        if model.reranker is None or model.config.model.reranker.kind != "aligned":
            raise ValueError("the model has no aligned reranker: set model.reranker.kind to aligned")
        self.model, self.training = model, training
        self.module: nn.Module = model.reranker
        self.negatives = NegativeQueue(QUEUE_WINDOWS)

    def spectra(self) -> Spectra:
        """Those of a front end whose windows hold a patch at the slowest tempo."""
        longest = math.ceil(PATCH.window_frames / min(1.0, *self.training.augmentation.tempo_ratios))
        frames = -(-(longest + 2) // PATCH.pool_frames) * PATCH.pool_frames
        front_end = LogFrequencyFrontEnd(replace(PATCH, window_frames=frames))
        return LogFrequencySpectra(front_end, self.training.augmentation.semitones)

    def pairs(self, batch: Batch, spectra: Spectra, difficulty: float) -> Pairs:
        """Queries with their pitch and tempo undone, up to the errors of verification, and their references."""
        log_frequency = cast(LogFrequencySpectra, spectra)  # as `spectra` returns it
        plain, mixed, drawn = mixed_bands(batch, spectra, self.training, difficulty)
        queries, whole = (log_frequency.whitened(bands).clamp(max=CEILING) for bands in (mixed, plain))
        middle = whole.shape[2] // 2
        half = PATCH.window_frames // 2
        references = aligned_patches(whole[..., middle - half : middle + half])
        rows = len(queries)
        centres = middle + FRAMES_ERROR * (2 * torch.rand(rows) - 1)
        ratios = drawn.ratios.cpu() * (RATIO_ERROR * torch.randn(rows)).exp()
        semitones = drawn.semitones.cpu() + SEMITONES_ERROR * torch.randn(rows)
        undone = [_undone(queries[i], centres[i], float(ratios[i]), float(semitones[i])) for i in range(rows)]
        patches = aligned_patches(torch.cat(undone))
        return Pairs(references, patches, ambiguous_rows(references, batch.track), None, batch.track)

    def loss(
        self, module: nn.Module, pairs: Pairs, gather: losses.Gather | None, rank: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Binary cross-entropy of each pair and of its query with wrong references that are near it."""
        logits, labels = self._judged(module, pairs)
        loss, accuracy = losses.balanced_cross_entropy(logits, labels)
        return loss, {"accuracy": accuracy}

    @torch.no_grad()
    def validate(self, pairs: Pairs) -> dict[str, float]:
        """AUC of pairs against hard negatives."""
        logits, labels = self._judged(self.module.eval(), pairs)
        auc = losses.area_under_curve(logits[labels > 0], logits[labels == 0])
        return {"auc": auc, "score": auc}

    def train(self) -> None:
        self.model.eval()
        self.module.train()

    def _judged(self, module: nn.Module, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """(logits, labels) [B * 4]: the pairs, then each query with its negatives.

        While it trains these come from the references of earlier batches as well.
        """
        track = torch.zeros(0) if pairs.track is None else pairs.track
        with torch.no_grad():
            queries, vectors = _vectors(pairs.queries), _vectors(pairs.references)
            excluded, every = pairs.ambiguous, vectors
            if module.training:
                excluded = excluded | second_references(len(pairs), excluded.device)  # its background
                if len(self.negatives):
                    same = self.negatives.of_tracks([track, track.roll(1)])
                    excluded = torch.cat([excluded, same], 1)
                    every = torch.cat([vectors, self.negatives.vectors])
            nearest = losses.hardest_negatives(queries, every, min(NEAREST, len(pairs) - 1), excluded)
            drawn = torch.randint(1, nearest.shape[1], (len(pairs), NEGATIVES - 1), device=nearest.device)
            wrong = torch.cat([nearest[:, :1], nearest.gather(1, drawn)], 1).flatten()
            negatives = self.negatives.after(pairs.references, wrong)
            if module.training:
                self.negatives.add(pairs.references.half(), vectors, track)
        labels = torch.zeros(len(pairs) * (1 + NEGATIVES), device=pairs.queries.device)
        labels[: len(pairs)] = 1
        both = torch.cat([pairs.references, negatives])
        return module(torch.cat([pairs.queries, pairs.queries.repeat_interleave(NEGATIVES, 0)]), both), labels


def reranker_task(model: Fingerprinter, training: TrainingConfig) -> Task:
    """How the reranker of `model` is trained. Raises ValueError where it has none."""
    if model.config.model.reranker.kind == "aligned":
        return AlignedRerankerTask(model, training)
    return RerankerTask(model, training)


def _undone(query: Tensor, centre: Tensor, ratio: float, semitones: float) -> Tensor:
    """A whitened query [bins, T] around frame `centre` as its reference would sound: [1, bins, PATCH.window_frames]."""
    return shifted(stretched(query, centre[None], ratio, PATCH.window_frames, 1), semitones, PATCH)


def _vectors(patches: Tensor) -> Tensor:
    """Centred patches at half the resolution, as unit vectors [B, D]: near ones correlate."""
    return F.normalize(F.avg_pool2d(centred(patches)[:, None], 2).flatten(1), dim=1)
