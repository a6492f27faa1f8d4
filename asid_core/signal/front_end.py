"""What every front end offers: features of a waveform, and from these the patches that an encoder takes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from asid_core.config import FrontEndConfig


class FrontEnd(nn.Module, ABC):
    """Waveform -> features [B, F, T] -> windows [n, F, W] -> patches [n, bins, frames].

    Frame `f` is centred on sample `f * config.hop_samples`. Windows, patches and probes as defined here are those of
    a front end whose features an encoder takes as they are, and which cannot undo a pitch shift or a tempo change.
    """

    config: FrontEndConfig

    @abstractmethod
    def forward(self, waveform: Tensor) -> Tensor:
        """Waveform [B, n] float32 at 16 kHz -> features [B, F, 1 + n // hop_samples]."""

    def windows(self, features: Tensor) -> Tensor:
        """Every window of features [F, T] as one strided view: [T - window_frames + 1, F, W]."""
        return features.unfold(1, self.config.window_frames, 1).transpose(0, 1)

    def patches(self, windows: Tensor) -> Tensor:
        """Patches [n, bins, frames], of `config.patch_size`, of windows [n, F, W]."""
        return windows

    def nearest_probe(self, semitones: float, tempo_ratio: float) -> tuple[float, float]:
        """The (semitones, tempo_ratio) nearest to the one given that `probe` can undo."""
        return 0.0, 1.0

    def probe(self, features: Tensor, centre_frames: Tensor, semitones: Sequence[float], tempo_ratio: float) -> Tensor:
        """Patches of the windows around `centre_frames` [n], in features [F, T], each probe undone.

        Returns [len(semitones), n, bins, frames]. Raises ValueError for a probe that this front end cannot undo, and
        for a window that does not lie whole in the features.
        """
        if list(semitones) != [0] or tempo_ratio != 1:
            raise ValueError(f"{self.config.kind} features cannot be probed: set probes to [0] and [1]")
        first = (centre_frames - self.config.window_frames / 2).round().long()
        self.require_whole(features, first)
        return self.patches(self.windows(features)[first.to(features.device)])[None]

    def require_whole(self, features: Tensor, first_frames: Tensor) -> None:
        """Raise ValueError unless the windows that start at `first_frames` int64 [n] lie whole in features [F, T]."""
        frames, total = self.config.window_frames, features.shape[1]
        if len(first_frames) and (int(first_frames.min()) < 0 or int(first_frames.max()) + frames > total):
            raise ValueError(f"a window of {frames} frames must lie whole in the {total} there are")
