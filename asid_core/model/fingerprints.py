"""The fingerprints of a recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Fingerprints:
    """The fingerprints of the windows of a recording or a segment, in order of time."""

    window_index: Tensor  # int64 [w], counted from the start of the track
    start_s: Tensor  # float64 [w], from the start of the track
    level_db: Tensor  # float32 [w], RMS of the window in dBFS
    vectors: Tensor  # float32 [w, dim], L2-normalised; zero for silence
    nodes: Tensor | None  # float32 [w, C, N]

    @staticmethod
    def joined(parts: Sequence[Fingerprints]) -> Fingerprints:
        """Concatenate the fingerprints of consecutive pieces of one track."""
        nodes = [part.nodes for part in parts if part.nodes is not None]
        return Fingerprints(
            torch.cat([part.window_index for part in parts]),
            torch.cat([part.start_s for part in parts]),
            torch.cat([part.level_db for part in parts]),
            torch.cat([part.vectors for part in parts]),
            torch.cat(nodes) if nodes else None,
        )
