"""The complete model: a recording -> its fingerprints."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor, nn

from asid_core.config import SAMPLE_RATE_HZ, Config
from asid_core.model import weights
from asid_core.model.factory import encoder_of, front_end_of, reranker_of, weights_of
from asid_core.model.fingerprints import Fingerprints
from asid_core.signal import framing
from asid_core.signal.windows import level_db, padded_to_window, windows_in_core

WINDOWS_PER_BATCH = 512
CENTRES_PER_BATCH = 256  # windows probed at once, which bounds memory; each call sums the whole recording
CORES_PER_PIECE = 4  # segment cores that `fingerprint` processes at once, which bounds memory


class Fingerprinter(nn.Module):
    """A front end, an encoder and, for some models, a reranker.

    Call `eval()` before fingerprinting; `from_pretrained` does so.
    """

    def __init__(self, config: Config) -> None:
        """A model with new random weights. Raises ValueError if the parts of `config.model` do not fit each other."""
        super().__init__()
        self.config = config
        self.front_end = front_end_of(config.model.front_end)
        self.encoder = encoder_of(config.model)
        self.reranker = reranker_of(config.model)
        self.known_id: str | None = None
        self.is_for_inference = False

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self.config.model.encoder.dim

    @property
    def hop_samples(self) -> int:
        """Samples from one feature frame to the next."""
        return self.config.model.front_end.hop_samples

    @property
    def hop_s(self) -> float:
        """Seconds from one window to the next."""
        return self.config.model.front_end.window_hop_frames * self.hop_samples / SAMPLE_RATE_HZ

    @property
    def window_s(self) -> float:
        """Length of a window in seconds."""
        return self.config.model.front_end.window_frames * self.hop_samples / SAMPLE_RATE_HZ

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return next(self.front_end.buffers()).device

    @property
    def model_id(self) -> str:
        """See `weights.identify`. Computed once for loaded weights, and at each access for weights that may change."""
        return self.known_id or weights.identify(self.config.model, self.encoder.state_dict())

    @property
    def windows_per_batch(self) -> int:
        """Windows per forward pass of the encoder."""
        return self.encoder.cpu_windows_per_batch if self.device.type == "cpu" else WINDOWS_PER_BATCH

    @torch.no_grad()
    def features(self, waveform: Tensor) -> Tensor:
        """Waveform [B, n] at 16 kHz -> features [B, F, 1 + n // hop_samples]. Very short audio is zero-padded."""
        return framing.frames(self.front_end, waveform.to(self.device, torch.float32))

    @torch.no_grad()
    def encode(self, features: Tensor, first_frames: Tensor, nodes: bool = False) -> tuple[Tensor, Tensor | None]:
        """Encode the windows of features [F, T] that start at `first_frames` int64 [n].

        Returns (vectors [n, dim], nodes [n, C, N]). Nodes are None unless asked for (64 KB per window at full size),
        and for encoders without nodes. A silent window gives the zero vector. Raises ValueError for a window that is
        not completely inside the features.
        """
        if not len(first_frames):
            return features.new_zeros(0, self.dim), None
        self.front_end.require_whole(features, first_frames)
        windows = self.front_end.windows(features)
        vectors, kept = [], []
        for chunk in first_frames.to(features.device).split(self.windows_per_batch):
            chunk_vectors, chunk_nodes = self.encoder(self.front_end.patches(windows[chunk]))
            vectors.append(chunk_vectors)
            if nodes and chunk_nodes is not None:
                kept.append(chunk_nodes.float())
        return torch.cat(vectors), torch.cat(kept) if kept else None

    @torch.no_grad()
    def probe(self, features: Tensor, centre_frames: Tensor, probes: Sequence[tuple[float, float]]) -> Tensor:
        """Vectors [P, n, dim] of the windows around `centre_frames` [n], with each probe (semitones, tempo) undone.

        The window of `encode` at first frame f has its centre at f + window_frames / 2. Raises ValueError for probes
        that the front end cannot undo; front ends other than log_frequency support only (0, 1) at complete windows.
        """
        out = features.new_empty(len(probes), len(centre_frames), self.dim)
        for tempo in dict.fromkeys(tempo for _, tempo in probes):
            which = [i for i, probe in enumerate(probes) if probe[1] == tempo]
            semitones = [probes[i][0] for i in which]
            for at in range(0, len(centre_frames), CENTRES_PER_BATCH):
                centres = centre_frames[at : at + CENTRES_PER_BATCH]
                out[which, at : at + CENTRES_PER_BATCH] = self._probed(features, centres, semitones, tempo)
        return out

    def _probed(self, features: Tensor, centres: Tensor, semitones: Sequence[float], tempo: float) -> Tensor:
        """Vectors [len(semitones), n, dim] of the windows around `centres` [n]."""
        if shifts := self.front_end.whole_shifts(semitones):
            return self.encoder.shifted(
                self.front_end.at_tempo(features, centres, tempo), shifts, self.windows_per_batch
            )
        patches = self.front_end.probe(features, centres, semitones, tempo).flatten(0, 1)
        vectors = torch.cat([self.encoder(part)[0] for part in patches.split(self.windows_per_batch)])
        return vectors.view(len(semitones), -1, self.dim)

    def fingerprint(self, waveform: Tensor, nodes: bool = False) -> Fingerprints:
        """The fingerprints of all windows of a recording [n] at 16 kHz. A shorter recording is padded to one window."""
        core = CORES_PER_PIECE * round(self.config.segment.core_s * SAMPLE_RATE_HZ)
        margin = round(self.config.segment.margin_s * SAMPLE_RATE_HZ)
        parts = []
        for start in range(0, max(len(waveform), 1), core):
            lead = min(start, margin)
            piece = waveform[start - lead : start + core + margin]
            parts.append(self.fingerprint_segment(piece, start, lead, core, nodes))
        return Fingerprints.joined(parts)

    def fingerprint_segment(
        self, waveform: Tensor, start_samples: int, lead_samples: int, core_samples: int, nodes: bool = False
    ) -> Fingerprints:
        """The fingerprints of the windows that start in a segment's core, the same as those of the whole track.

        waveform [n]: lead, core and tail. `start_samples`: position of the core in the track. If the segment is a whole
        track and shorter than a window, it is zero-padded.
        """
        features, index, local, level = self.segment_windows(waveform, start_samples, lead_samples, core_samples)
        vectors, kept = self.encode(features, local, nodes)
        return Fingerprints(index, index.double() * self.hop_s, level, vectors, kept)

    def segment_windows(
        self, waveform: Tensor, start_samples: int, lead_samples: int, core_samples: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The features of a segment, and the windows that start in its core. Arguments as in `fingerprint_segment`.

        Returns features [F, T]; and for each window its number in the track int64 [w], its first frame in the features
        int64 [w], and its level in dBFS float32 [w].
        """
        front, origin = self.config.model.front_end, start_samples - lead_samples
        waveform = waveform.to(self.device, torch.float32)
        features, first_frame = framing.on_grid(
            self.front_end, padded_to_window(front, waveform, start_samples), origin
        )
        index = windows_in_core(front, start_samples, core_samples)
        local = index * front.window_hop_frames - first_frame
        whole = local + front.window_frames <= features.shape[1]
        index, local = index[whole], local[whole]
        skip = -origin % self.hop_samples
        return features, index, local, level_db(front, waveform[skip:], local)

    def for_inference(self, dtype: torch.dtype = torch.float32) -> Fingerprinter:
        """A copy for inference, in `dtype` and with batch norms folded into the weights. Keeps the `model_id`."""
        copy = deepcopy(self).eval().requires_grad_(False)
        copy.known_id, copy.is_for_inference = self.model_id, True
        copy.encoder = copy.encoder.for_inference(dtype)
        return copy

    def weights(self) -> dict[str, Tensor]:
        """The state of encoder and reranker. A front end has no weights."""
        return {name: value for name, value in self.state_dict().items() if not name.startswith("front_end.")}

    def save(self, directory: Path) -> None:
        """Write config.json and model.safetensors. Raises ValueError for a copy made by `for_inference`."""
        if self.is_for_inference:
            raise ValueError("a copy made by for_inference cannot be saved; save the original model")
        weights.write(directory, self.config, self.weights())

    @staticmethod
    def from_pretrained(name_or_directory: str | Path) -> Fingerprinter:
        """Load a shipped model by name, or a directory written by `save`, ready for inference.

        Raises FileNotFoundError if there is neither, ConfigError if the files are damaged or do not fit each other.
        """
        directory = weights.weights_directory(name_or_directory)
        config = weights.read_config(directory)
        tensors = weights.read_tensors(directory, weights_of(config.model))
        model = Fingerprinter(config)
        model.load_state_dict(tensors, strict=False)
        model.known_id = model.model_id
        return model.eval()
