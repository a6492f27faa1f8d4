"""The interface of front ends: waveform -> features -> windows -> patches, the input of encoders."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from asid_core.config import FrontEndConfig


class FrontEnd(nn.Module, ABC):
    """Waveform -> features [B, F, T] -> windows [n, F, W] -> patches [n, bins, frames].

    Frame `f` is centred on sample `f * config.hop_samples`. The default methods suit a front end whose patches are the
    windows themselves, and which cannot undo pitch shifts or tempo changes.
    """

    config: FrontEndConfig

    @abstractmethod
    def forward(self, waveform: Tensor) -> Tensor:
        """Waveform [B, n] float32 at 16 kHz -> features [B, F, 1 + n // hop_samples]."""

    def windows(self, features: Tensor) -> Tensor:
        """All windows of features [F, T] as one strided view [T - window_frames + 1, F, W]."""
        return features.unfold(1, self.config.window_frames, 1).transpose(0, 1)

    def patches(self, windows: Tensor) -> Tensor:
        """Windows [n, F, W] -> patches [n, bins, frames], with (bins, frames) = `config.patch_size`."""
        return windows

    def nearest_probe(self, semitones: float, tempo_ratio: float) -> tuple[float, float]:
        """The probe (semitones, tempo_ratio) nearest to the given one that `probe` can undo."""
        return 0.0, 1.0

    def probe(self, features: Tensor, centre_frames: Tensor, semitones: Sequence[float], tempo_ratio: float) -> Tensor:
        """Patches [len(semitones), n, bins, frames] of the windows around `centre_frames` [n] in features [F, T].

        Each pitch shift in `semitones`, and the tempo change, is undone. Raises ValueError for a probe that this front
        end cannot undo, or for a window that is not completely inside the features.
        """
        if list(semitones) != [0] or tempo_ratio != 1:
            raise ValueError(f"{self.config.kind} features cannot be probed; set probes to [0] and [1]")
        first = (centre_frames - self.config.window_frames / 2).round().long()
        self.require_whole(features, first)
        return self.patches(self.windows(features)[first.to(features.device)])[None]

    def whole_shifts(self, semitones: Sequence[float]) -> list[int] | None:
        """Pitch shifts in bins of a patch, if `at_tempo` is supported and all of them are whole; otherwise None."""
        return None

    def at_tempo(self, features: Tensor, centre_frames: Tensor, tempo_ratio: float) -> Tensor:
        """Patches [n, bins, frames] as those of `probe`, with only the tempo undone, and not normalised."""
        raise NotImplementedError

    def require_whole(self, features: Tensor, first_frames: Tensor) -> None:
        """Raise ValueError unless all windows starting at `first_frames` int64 [n] are inside features [F, T]."""
        frames, total = self.config.window_frames, features.shape[1]
        if len(first_frames) and (int(first_frames.min()) < 0 or int(first_frames.max()) + frames > total):
            raise ValueError(f"a window of {frames} frames is not completely inside the {total} frames given")
