"""The paper's front end: a mel spectrogram in decibels (arXiv:2506.14684, section 3.1)."""

from __future__ import annotations

from torch import Tensor
from torchaudio.transforms import AmplitudeToDB, MelSpectrogram

from asid_core.config import SAMPLE_RATE_HZ, LogMelConfig
from asid_core.signal.front_end import FrontEnd


class LogMelFrontEnd(FrontEnd):
    """Waveform -> log-mel frames, in decibels."""

    config: LogMelConfig

    def __init__(self, config: LogMelConfig) -> None:
        super().__init__()
        self.config = config
        self.mel = MelSpectrogram(
            SAMPLE_RATE_HZ,
            n_fft=config.n_fft,
            win_length=config.n_fft,
            hop_length=config.hop_samples,
            n_mels=config.bins,
        )
        # no top_db: it clips relative to the loudest frame, so frames would depend on where the recording was cut
        self.to_db = AmplitudeToDB(stype="power", top_db=None)

    def forward(self, waveform: Tensor) -> Tensor:
        """Waveform [B, n] float32 at 16 kHz -> dB [B, bins, 1 + n // hop_samples]; silence is -100 dB.

        Needs n > n_fft // 2, because the edges are reflected.
        """
        frames: Tensor = self.to_db(self.mel(waveform))
        return frames
