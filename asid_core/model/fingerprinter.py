"""The assembled model: a recording in, its fingerprints out; and how it is kept on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from asid_core.config import (
    SAMPLE_RATE_HZ,
    Config,
    CqtConfig,
    DiscriminantConfig,
    GnnConfig,
    LogFrequencyConfig,
    LogMelConfig,
    ModelConfig,
    ResnetIbnConfig,
)
from asid_core.model.encoder import GnnEncoder, folded, num_nodes
from asid_core.model.gain_encoder import GainEncoder
from asid_core.model.linear import DiscriminantEncoder, LinearEncoder
from asid_core.model.reranker import Reranker
from asid_core.model.resnet import ResnetIbnEncoder
from asid_core.plain_values import ConfigError, from_dict, to_dict
from asid_core.signal import framing
from asid_core.signal.cqt import CqtFrontEnd
from asid_core.signal.log_frequency import LogFrequencyFrontEnd
from asid_core.signal.log_mel import LogMelFrontEnd
from asid_core.signal.probing import normalised, pooled_bins, probed_patches

SHIPPED = Path(str(resources.files("asid_core"))) / "weights"
LEVEL_FLOOR_DB = -120.0
# windows a forward pass: a full-size GNN's widest layer takes 260 KB a window, and a CPU is slower once 64 of them
# overflow its cache (20 windows/s against 29 at 32); elsewhere more is faster until it fills
WINDOWS_PER_BATCH, CPU_GNN_WINDOWS_PER_BATCH = 512, 32
# centres probed at once: each call sums up the whole recording, and 256 x 9 patches are 18 MB
CENTRES_PER_BATCH = 256
# cores of the segment table read in one go by `fingerprint`: an hour in one piece would be 1.5 GB of spectrum
CORES_PER_PIECE = 4


@dataclass(frozen=True)
class Fingerprints:
    """The windows of a recording or of a segment, in order of time."""

    window_index: Tensor  # int64 [w], counted from the start of the track
    start_s: Tensor  # float64 [w], in the track
    level_db: Tensor  # float32 [w], RMS re full scale of the window's audio
    vectors: Tensor  # float32 [w, dim], L2-normalised; zero where silent
    nodes: Tensor | None  # float32 [w, C, N]

    @staticmethod
    def joined(parts: Sequence[Fingerprints]) -> Fingerprints:
        """Those of one track, cut into pieces, one after the other."""
        nodes = [part.nodes for part in parts if part.nodes is not None]
        return Fingerprints(
            torch.cat([part.window_index for part in parts]),
            torch.cat([part.start_s for part in parts]),
            torch.cat([part.level_db for part in parts]),
            torch.cat([part.vectors for part in parts]),
            torch.cat(nodes) if nodes else None,
        )


class Fingerprinter(nn.Module):
    """Front end, encoder and, for some, a reranker. `eval()` before fingerprinting; `from_pretrained` does so."""

    def __init__(self, config: Config) -> None:
        """Fresh weights. Raises ConfigError where the parts of `config.model` do not go together."""
        super().__init__()
        self.config = config
        front, encoder, reranking = config.model.front_end, config.model.encoder, config.model.reranker
        self.front_end: framing.FrontEnd = front_end_of(front)
        self.encoder: GnnEncoder | LinearEncoder | ResnetIbnEncoder
        self.reranker: Reranker | None = None
        self.frozen_id: str | None = None
        bins, frames = patch_size(config.model)
        if isinstance(encoder, GnnConfig):
            nodes = num_nodes(encoder, bins, frames)
            self.encoder = GnnEncoder(encoder) if encoder.head == "pooled" else GainEncoder(encoder, bins, frames)
            if reranking.heads:
                self.reranker = Reranker(reranking, encoder.channels[-1], nodes)
            return
        if reranking.heads:
            raise ConfigError("model.reranker needs the nodes of a gnn encoder: set model.reranker.heads to 0")
        if isinstance(encoder, ResnetIbnConfig):
            self.encoder = ResnetIbnEncoder(encoder)
            return
        if not isinstance(front, LogFrequencyConfig):
            raise ConfigError(f"model.encoder.kind {encoder.kind} needs model.front_end.kind log_frequency")
        kind = DiscriminantEncoder if isinstance(encoder, DiscriminantConfig) else LinearEncoder
        self.encoder = kind(encoder.dim, bins, frames)

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
        """12 hex digits that change with the encoder's weights or the model's config, but not with the reranker."""
        if self.frozen_id is not None:
            return self.frozen_id
        section = to_dict(self.config.model)
        del section["reranker"]
        digest = hashlib.blake2b(json.dumps(section, sort_keys=True).encode(), digest_size=6)
        for name, value in sorted(self.encoder.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def window_starts(self, num_frames: int) -> Tensor:
        """First frames, int64 [w], of the whole windows in a recording of `num_frames` frames."""
        front = self.config.model.front_end
        return torch.arange(0, num_frames - front.window_frames + 1, front.window_hop_frames)

    @torch.no_grad()
    def features(self, waveform: Tensor) -> Tensor:
        """Waveform [B, n] at 16 kHz -> frames [B, F, 1 + n // hop_samples]. Shorter than half an FFT is zero-padded."""
        return framing.frames(self.front_end, waveform.to(self.device, torch.float32))

    @torch.no_grad()
    def encode(self, features: Tensor, first_frames: Tensor, nodes: bool = False) -> tuple[Tensor, Tensor | None]:
        """The windows of features [F, T] that start at `first_frames` int64 [n] -> (vectors [n, dim], nodes [n, C, N]).

        Nodes are None unless asked for (64 KB a window at full size), and but from a gnn. A silent window is the zero
        vector. Raises ValueError for a window that does not lie whole in the features.
        """
        if not len(first_frames):
            return features.new_zeros(0, self.dim), None
        frames, last = self.config.model.front_end.window_frames, int(first_frames.max())
        if int(first_frames.min()) < 0 or last + frames > features.shape[1]:
            raise ValueError(f"a window of {frames} frames must lie whole in the {features.shape[1]} there are")
        windows = self.windows(features)
        vectors, kept = [], []
        for chunk in first_frames.to(features.device).split(self.windows_per_batch):
            chunk_vectors, chunk_nodes = self.encode_patches(self.patches(windows[chunk]))
            vectors.append(chunk_vectors)
            if nodes and chunk_nodes is not None:
                kept.append(chunk_nodes.float())
        return torch.cat(vectors), torch.cat(kept) if kept else None

    @property
    def windows_per_batch(self) -> int:
        """Windows handed to the encoder at once."""
        on_cpu = not isinstance(self.encoder, LinearEncoder) and self.device.type == "cpu"
        return CPU_GNN_WINDOWS_PER_BATCH if on_cpu else WINDOWS_PER_BATCH

    def windows(self, features: Tensor) -> Tensor:
        """Every window of features [F, T] as one strided view, the time axis pooled: [T - window_frames + 1, F, W]."""
        front = self.config.model.front_end
        if not isinstance(front, LogFrequencyConfig):
            return features.unfold(1, front.window_frames, 1).transpose(0, 1)
        # a running mean, so that the pooled frames of windows that start anywhere are all there, once
        pooled = F.avg_pool1d(features, front.pool_frames, stride=1)
        span = front.window_frames - front.pool_frames + 1
        return pooled.unfold(1, span, 1)[..., :: front.pool_frames].transpose(0, 1)

    def patches(self, windows: Tensor) -> Tensor:
        """What the encoder takes of windows [n, F, W]: decibels as they are, whitened ones pooled and to unit norm."""
        front = self.config.model.front_end
        return normalised(pooled_bins(windows, front.pool_bins)) if isinstance(front, LogFrequencyConfig) else windows

    def encode_patches(self, patches: Tensor) -> tuple[Tensor, Tensor | None]:
        """Patches [n, bins, frames] as `patches` makes them -> vectors [n, dim], nodes [n, C, N] of a gnn."""
        if isinstance(self.encoder, LinearEncoder):
            return self.encoder(patches), None
        vectors, nodes = self.encoder(patches)
        return vectors, nodes

    @torch.no_grad()
    def probe(self, features: Tensor, centre_frames: Tensor, probes: Sequence[tuple[float, float]]) -> Tensor:
        """Vectors [P, n, dim] of the windows around `centre_frames` [n] for each probe (semitones, tempo_ratio).

        The window that `encode` finds at first frame f has its centre at f + window_frames / 2. Raises ValueError for
        probes that the front end cannot make: all but log_frequency only know (0, 1) at whole windows.
        """
        front = self.config.model.front_end
        if not isinstance(front, LogFrequencyConfig):
            if list(probes) != [(0.0, 1.0)]:
                raise ValueError(f"{front.kind} features cannot be probed: set probes to [0] and [1]")
            first = (centre_frames - front.window_frames / 2).round().long()
            return self.encode(features, first)[0][None]
        out = features.new_empty(len(probes), len(centre_frames), self.dim)
        for tempo in dict.fromkeys(tempo for _, tempo in probes):
            which = [i for i, probe in enumerate(probes) if probe[1] == tempo]
            semitones = [probes[i][0] for i in which]
            for at in range(0, len(centre_frames), CENTRES_PER_BATCH):
                centres = centre_frames[at : at + CENTRES_PER_BATCH]
                patches = probed_patches(features, centres, semitones, tempo, front).flatten(0, 1)
                vectors = torch.cat([self.encode_patches(part)[0] for part in patches.split(self.windows_per_batch)])
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
        their first frames int64 [w] among those frames, and their level_db float32 [w]. For the rest see above."""
        front = self.config.model.front_end
        waveform = waveform.to(self.device, torch.float32)
        features, first_frame = framing.on_grid(
            self.front_end, self.padded(waveform, start_samples), start_samples - lead_samples
        )
        step = front.window_hop_frames * self.hop_samples
        index = torch.arange(-(-start_samples // step), -(-(start_samples + max(core_samples, 1)) // step))
        local = index * front.window_hop_frames - first_frame
        whole = local + front.window_frames <= features.shape[1]
        index, local = index[whole], local[whole]
        skip = -(start_samples - lead_samples) % self.hop_samples
        return features, index, local, self.level_db(waveform[skip:], local)

    def padded(self, waveform: Tensor, start_samples: int) -> Tensor:
        """The audio [n] of a segment; that of a whole track shorter than a window zero-padded to one."""
        short = (self.config.model.front_end.window_frames - 1) * self.hop_samples - len(waveform)
        return F.pad(waveform, (0, short)) if short > 0 and start_samples == 0 else waveform

    def level_db(self, waveform: Tensor, first_frames: Tensor) -> Tensor:
        """RMS in dB re full scale, float32 [n], of the audio [samples] of each window, what there is of it."""
        power = F.pad(waveform.double().square().cumsum(0), (1, 0))
        first = (first_frames.to(waveform.device) * self.hop_samples).clamp(max=len(waveform))
        last = (first + self.config.model.front_end.window_frames * self.hop_samples).clamp(max=len(waveform))
        mean = (power[last] - power[first]) / (last - first).clamp(min=1)
        return (10 * mean.clamp(min=1e-30).log10()).clamp(min=LEVEL_FLOOR_DB).float()

    def for_inference(self, dtype: torch.dtype = torch.float32) -> Fingerprinter:
        """A copy for inference: batch norms folded into the weights, these in `dtype`; the same `model_id`."""
        copy = deepcopy(self).eval().requires_grad_(False)
        copy.frozen_id = self.model_id
        if isinstance(copy.encoder, GnnEncoder):
            copy.encoder = folded(copy.encoder).to(dtype)
        return copy

    def save(self, directory: Path) -> None:
        """Write config.json and model.safetensors. Raises ValueError for an `for_inference` copy."""
        if self.frozen_id is not None:
            raise ValueError("an for_inference model cannot be saved: save the one it was made from")
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "config.json").write_text(json.dumps(to_dict(self.config), indent=1) + "\n")
        save_file({name: value.contiguous() for name, value in self.weights().items()}, directory / "model.safetensors")

    def weights(self) -> dict[str, Tensor]:
        """The state of encoder and reranker; a front end has nothing of its own."""
        return {name: value for name, value in self.state_dict().items() if not name.startswith("front_end.")}

    @staticmethod
    def from_pretrained(name_or_directory: str | Path) -> Fingerprinter:
        """A model we ship, by name, or a directory that `save` wrote, ready for inference.

        Raises FileNotFoundError where there is neither, ConfigError or RuntimeError where its files do not fit.
        """
        directory = weights_directory(name_or_directory)
        model = Fingerprinter(from_dict(Config, json.loads((directory / "config.json").read_text())))
        weights = load_file(directory / "model.safetensors")
        missing = model.weights().keys() ^ weights.keys()
        if missing:
            raise RuntimeError(f"{directory}: config.json and model.safetensors differ in {sorted(missing)[:5]}")
        model.load_state_dict(weights, strict=False)
        return model.eval()


def patch_size(model: ModelConfig) -> tuple[int, int]:
    """(bins, frames) of what the encoder takes."""
    front = model.front_end
    if isinstance(front, LogFrequencyConfig):
        return front.bins // front.pool_bins, front.window_frames // front.pool_frames
    return front.bins, front.window_frames


def front_end_of(config: LogMelConfig | LogFrequencyConfig | CqtConfig) -> framing.FrontEnd:
    """The front end of a config's section."""
    if isinstance(config, LogMelConfig):
        return LogMelFrontEnd(config)
    return CqtFrontEnd(config) if isinstance(config, CqtConfig) else LogFrequencyFrontEnd(config)


def shipped_weights() -> list[str]:
    """Names of the weights that come with asid."""
    return sorted(path.parent.name for path in SHIPPED.glob("*/config.json"))


def weights_directory(name_or_directory: str | Path) -> Path:
    """Where config.json and model.safetensors are: that directory, or the shipped one. Raises FileNotFoundError."""
    for directory in (Path(name_or_directory), SHIPPED / str(name_or_directory)):
        if (directory / "config.json").is_file():
            return directory
    raise FileNotFoundError(
        f"no weights {str(name_or_directory)!r}: give a directory with config.json and model.safetensors, "
        f"or one of {', '.join(shipped_weights()) or '(none shipped)'}"
    )
