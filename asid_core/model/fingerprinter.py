"""The assembled model: a recording in, its fingerprints out."""

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
# centres probed at once: each call sums up the whole recording, and 256 x 9 patches are 18 MB
CENTRES_PER_BATCH = 256
# cores of the segment table that `fingerprint` reads at once: an hour in one piece would be 1.5 GB of spectrum
CORES_PER_PIECE = 4


class Fingerprinter(nn.Module):
    """Front end, encoder and, for some, a reranker. `eval()` before fingerprinting; `from_pretrained` does so."""

    def __init__(self, config: Config) -> None:
        """Fresh weights. Raises ConfigError where the parts of `config.model` do not go together."""
        super().__init__()
        self.config = config
        self.front_end = front_end_of(config.model.front_end)
        self.encoder = encoder_of(config.model)
        self.reranker = reranker_of(config.model)
        self.known_id: str | None = None
        self.is_for_inference = False

    @property
    def dim(self) -> int:
        """Values of a vector."""
        return self.config.model.encoder.dim

    @property
    def hop_samples(self) -> int:
        """Samples from one frame of the features to the next."""
        return self.config.model.front_end.hop_samples

    @property
    def hop_s(self) -> float:
        """Seconds from one window to the next."""
        return self.config.model.front_end.window_hop_frames * self.hop_samples / SAMPLE_RATE_HZ

    @property
    def window_s(self) -> float:
        """Seconds a window lasts."""
        return self.config.model.front_end.window_frames * self.hop_samples / SAMPLE_RATE_HZ

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.front_end.buffers()).device

    @property
    def model_id(self) -> str:
        """As `weights.identify`: computed once for loaded weights, anew for weights that may still change."""
        return self.known_id or weights.identify(self.config.model, self.encoder.state_dict())

    @property
    def windows_per_batch(self) -> int:
        """Windows handed to the encoder at once."""
        return self.encoder.cpu_windows_per_batch if self.device.type == "cpu" else WINDOWS_PER_BATCH

    @torch.no_grad()
    def features(self, waveform: Tensor) -> Tensor:
        """Waveform [B, n] at 16 kHz -> frames [B, F, 1 + n // hop_samples]. Shorter than half an FFT is zero-padded."""
        return framing.frames(self.front_end, waveform.to(self.device, torch.float32))

    @torch.no_grad()
    def encode(self, features: Tensor, first_frames: Tensor, nodes: bool = False) -> tuple[Tensor, Tensor | None]:
        """The windows of features [F, T] that start at `first_frames` int64 [n] -> (vectors [n, dim], nodes [n, C, N]).

        Nodes are None unless asked for (64 KB per window at full size), and for all encoders but a gnn. A silent window
        is the zero vector. Raises ValueError for a window that does not lie whole in the features.
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
        """Vectors [P, n, dim] of the windows around `centre_frames` [n] for each probe (semitones, tempo_ratio).

        The window that `encode` finds at first frame f has its centre at f + window_frames / 2. Raises ValueError for
        probes that the front end cannot undo: all but log_frequency only know (0, 1) at whole windows.
        """
        out = features.new_empty(len(probes), len(centre_frames), self.dim)
        for tempo in dict.fromkeys(tempo for _, tempo in probes):
            which = [i for i, probe in enumerate(probes) if probe[1] == tempo]
            semitones = [probes[i][0] for i in which]
            for at in range(0, len(centre_frames), CENTRES_PER_BATCH):
                centres = centre_frames[at : at + CENTRES_PER_BATCH]
                patches = self.front_end.probe(features, centres, semitones, tempo).flatten(0, 1)
                vectors = torch.cat([self.encoder(part)[0] for part in patches.split(self.windows_per_batch)])
                out[which, at : at + CENTRES_PER_BATCH] = vectors.view(len(which), -1, self.dim)
        return out

    def fingerprint(self, waveform: Tensor, nodes: bool = False) -> Fingerprints:
        """All windows of a whole recording [n] at 16 kHz; one shorter than a window is zero-padded to one."""
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
        """The windows that start in the core of a segment, equal to the same windows of the whole track.

        waveform [n]: lead, core and tail; `start_samples` is where the core starts in the track. Only the segment that
        is a whole track may be shorter than a window: it is zero-padded to one.
        """
        features, index, local, level = self.segment_windows(waveform, start_samples, lead_samples, core_samples)
        vectors, kept = self.encode(features, local, nodes)
        return Fingerprints(index, index.double() * self.hop_s, level, vectors, kept)

    def segment_windows(
        self, waveform: Tensor, start_samples: int, lead_samples: int, core_samples: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Frames [F, T] of a segment, and of the windows that start in its core: their index int64 [w] in the track,
        their first frames int64 [w] among those frames, and their level_db float32 [w].

        The arguments are those of `fingerprint_segment`.
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
        """A copy that only infers: batch norms folded into the weights, these in `dtype`; the same `model_id`."""
        copy = deepcopy(self).eval().requires_grad_(False)
        copy.known_id, copy.is_for_inference = self.model_id, True
        copy.encoder = copy.encoder.for_inference(dtype)
        return copy

    def weights(self) -> dict[str, Tensor]:
        """The state of encoder and reranker; a front end has nothing of its own."""
        return {name: value for name, value in self.state_dict().items() if not name.startswith("front_end.")}

    def save(self, directory: Path) -> None:
        """Write config.json and model.safetensors. Raises ValueError for a copy made by `for_inference`."""
        if self.is_for_inference:
            raise ValueError("a copy made by for_inference cannot be saved: save the model it was made from")
        weights.write(directory, self.config, self.weights())

    @staticmethod
    def from_pretrained(name_or_directory: str | Path) -> Fingerprinter:
        """A model we ship, by name, or a directory that `save` wrote, ready for inference.

        Raises FileNotFoundError where there is neither, ConfigError where its files are damaged or do not fit.
        """
        directory = weights.weights_directory(name_or_directory)
        config = weights.read_config(directory)
        tensors = weights.read_tensors(directory, weights_of(config.model))
        model = Fingerprinter(config)
        model.load_state_dict(tensors, strict=False)
        model.known_id = model.model_id
        return model.eval()
