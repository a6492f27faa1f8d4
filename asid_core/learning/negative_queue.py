"""References of earlier batches, among which a query's negatives are sought."""

from __future__ import annotations

import torch
from torch import Tensor


class NegativeQueue:
    """The last `windows` references: patches, the vectors they are searched by, and the tracks they are of."""

    def __init__(self, windows: int) -> None:
        self.windows = windows
        self.patches = self.vectors = self.tracks = torch.zeros(0)

    def __len__(self) -> int:
        return len(self.tracks)

    def add(self, patches: Tensor, vectors: Tensor, tracks: Tensor) -> None:
        """Take in windows, the oldest going out."""
        if not len(self):
            self.patches, self.vectors, self.tracks = patches[:0], vectors[:0], tracks[:0]
        columns = ((self.patches, patches), (self.vectors, vectors), (self.tracks, tracks))
        self.patches, self.vectors, self.tracks = (torch.cat(pair)[-self.windows :] for pair in columns)

    def after(self, patches: Tensor, numbers: Tensor) -> Tensor:
        """The patches [k, F, W] with these `numbers` [k]: first come `patches` [B, F, W], then those of the queue."""
        chosen = patches[numbers.clamp(max=len(patches) - 1)]
        far = numbers >= len(patches)
        if far.any():
            chosen[far] = self.patches[numbers[far] - len(patches)].to(patches.dtype)
        return chosen

    def of_tracks(self, tracks: list[Tensor]) -> Tensor:
        """[B, windows] bool: which are of the track that any of `tracks` [B] names."""
        found = torch.zeros(len(tracks[0]), len(self), dtype=torch.bool, device=self.tracks.device)
        for column in tracks:
            found |= column[:, None] == self.tracks
        return found
