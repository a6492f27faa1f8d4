"""Features of whole tracks and of spans of tracks, joined from their segments."""

from __future__ import annotations

import functools
import itertools
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import torch
import torch.nn.functional as F
from torch import Tensor

from asid_core.config import SAMPLE_RATE_HZ, LogFrequencyConfig
from asid_core.model.fingerprinter import Fingerprinter
from asid_core.signal.decibels import span_db
from asid_core.signal.framing import core_frames, core_span, on_grid
from asid_core.signal.front_end import FrontEnd
from asid_core.signal.log_frequency import LevelFrontEnd, LogFrequencyFrontEnd
from asid_core.signal.windows import padded_to_window
from pipelines.search.waveforms import core_waveform
from pipelines.store.audio import Segment, segments_at, segments_within
from pipelines.store.catalogue import Catalogue


@dataclass(frozen=True)
class TrackFeatures:
    """Features of a whole query track. At 40 ms per frame, an hour takes 142 MB."""

    track_id: str
    model: Tensor  # [F, T], the model's front end
    audio: Tensor  # [bins, T], whitened log-frequency frames of 40 ms, for verification
    level: Tensor  # float16 [bins, T], the same frames before whitening
    duration_s: float  # without padding
    power: Tensor  # float64 [T + 1], running sum of each model frame's mean square
    waveform: Tensor  # int16, at matching.coherence.RATE_HZ; an hour takes 58 MB

    def played_backwards(self) -> TrackFeatures:
        """The reversed track. Its time t corresponds to `frames_s - t` in this one."""
        model = self.model.flip(1)
        audio = model if self.audio is self.model else self.audio.flip(1)
        power = self.power[-1] - self.power.flip(0)
        return replace(
            self, model=model, audio=audio, level=self.level.flip(1), power=power, waveform=self.waveform.flip(0)
        )

    def frames_s(self, hop_samples: int) -> float:
        """Duration of all frames in seconds, which is up to one frame longer than the audio."""
        return self.model.shape[1] * hop_samples / SAMPLE_RATE_HZ

    def level_db(self, centre_frames: Tensor, window_frames: int) -> Tensor:
        """RMS level [n], in dB re full scale, of the windows around centres [n] (in frames), inside the track."""
        last = self.power.shape[0] - 1
        start = (centre_frames - window_frames / 2).round().long().clamp(0, last)
        stop = (centre_frames + window_frames / 2).round().long().clamp(0, last)
        return span_db(self.power, start, stop)


@functools.lru_cache(maxsize=1)
def level_front_end(config: LogFrequencyConfig) -> LevelFrontEnd:
    """The front end of the levels from which the direction is decided."""
    return LevelFrontEnd(config)


@functools.lru_cache(maxsize=1)
def _front_end(config: LogFrequencyConfig) -> LogFrequencyFrontEnd:
    return LogFrequencyFrontEnd(config)


def audio_front_end(model: Fingerprinter, config: LogFrequencyConfig) -> FrontEnd:
    """The front end of verification. It is the model's own if they are equal, so that features are computed once."""
    return model.front_end if model.config.model.front_end == config else _front_end(config)


def features_of(
    segments: Iterable[Segment], model: Fingerprinter, config: LogFrequencyConfig
) -> Iterator[TrackFeatures]:
    """Features of whole tracks. segments: track by track, in order. config: the front end of verification."""
    front_end = level_front_end(config)
    own = audio_front_end(model, config) is model.front_end
    for track_id, some in itertools.groupby(segments, key=lambda segment: segment.track_id):
        frames, audio, levels, powers, waveforms = [], [], [], [], []
        duration_s = 0.0
        for segment in some:
            duration_s += segment.core_samples / SAMPLE_RATE_HZ
            segment = at_least_a_window(segment, model)
            waveforms.append(core_waveform(segment))
            whitened, level = heard(segment, front_end)
            frames.append(whitened if own else frames_of(segment, model.front_end))
            audio.append(whitened)
            levels.append(level)
            powers.append(power_of(segment, model.hop_samples))
        joined = torch.cat(frames, 1)
        whole = joined if own else torch.cat(audio, 1)
        power = F.pad(torch.cat(powers).cumsum(0), (1, 0))
        yield TrackFeatures(track_id, joined, whole, torch.cat(levels, 1), duration_s, power, torch.cat(waveforms))


@torch.no_grad()
def heard(segment: Segment, front_end: LevelFrontEnd) -> tuple[Tensor, Tensor]:
    """The whitened frames [F, t] centred in the core of a segment, and their levels (float16), from one spectrum."""
    level, first = on_grid(front_end, segment.waveform, segment.start_samples - segment.lead_samples)
    start, stop = core_span(segment.start_samples, segment.core_samples, segment.is_last, front_end.config.hop_samples)
    core = slice(start - first, stop - first)
    return front_end.whitened(level[None])[0, :, core], level[:, core].half()


def at_least_a_window(segment: Segment, model: Fingerprinter) -> Segment:
    """Zero-pad a segment to a window if it is a whole track shorter than that; return other segments unchanged."""
    padded = padded_to_window(model.config.model.front_end, segment.waveform, segment.start_samples)
    if not segment.is_last or len(padded) == len(segment.waveform):
        return segment
    return replace(segment, waveform=padded, core_samples=len(padded) - segment.lead_samples)


def frames_of(segment: Segment, front_end: FrontEnd) -> Tensor:
    """The frames [F, t] with centres in the core of a segment."""
    return core_frames(front_end, segment.waveform, segment.start_samples, segment.lead_samples, segment.core_samples)


def power_of(segment: Segment, hop_samples: int) -> Tensor:
    """Mean square float64 [t] of the hop that begins at each frame of the core."""
    start, stop = core_span(segment.start_samples, segment.core_samples, segment.is_last, hop_samples)
    skip = start * hop_samples - segment.start_samples + segment.lead_samples
    audio = segment.waveform[skip:][: (stop - start) * hop_samples].double()
    audio = F.pad(audio, (0, (stop - start) * hop_samples - len(audio)))
    return audio.view(-1, hop_samples).square().mean(1)


class SpanFeatures:
    """Features of spans of catalogue tracks, with a cache of the features of whole segments (LRU).

    Frames for verification and their levels come from one spectrum and are kept in float16: an hour takes 56 MB.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        tracks: pa.Table,
        model: Fingerprinter,
        config: LogFrequencyConfig,
        max_bytes: int,
    ) -> None:
        """tracks: columns track_id, segment_files, num_segments; `span` takes row numbers of it. max_bytes: cache.

        config: the front end of verification.
        """
        self._catalogue, self._tracks, self._model, self._max_bytes = catalogue, tracks, model, max_bytes
        self.audio, self.level = audio_front_end(model, config), level_front_end(config)
        # by the front ends that are computed together, track and segment
        self._kept: OrderedDict[tuple[tuple[FrontEnd, ...], int, int], dict[FrontEnd, Tensor]] = OrderedDict()
        self._bytes = 0

    def span(self, front_end: FrontEnd, track: int, start_s: float, end_s: float) -> tuple[Tensor, float]:
        """Features [F, T] of at least that span, as far as the track goes, and the time of frame 0 in seconds."""
        within = segments_within(self._catalogue, self._tracks["num_segments"][track].as_py(), start_s, end_s)
        keys = [(self._with(front_end), track, index) for index in within]
        if not all(key in self._kept for key in keys):
            self._read(keys)
        parts = [self._kept[key][front_end] for key in keys]
        found = parts[0] if len(parts) == 1 else torch.cat(parts, 1)  # mostly one, which need not be copied
        for key in keys:
            self._kept.move_to_end(key)
        while self._bytes > self._max_bytes and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= _bytes_of(dropped)
        hop = front_end.config.hop_samples
        return found, -(-within[0] * self._catalogue.geometry.core_samples // hop) * hop / SAMPLE_RATE_HZ

    def _read(self, keys: Sequence[tuple[tuple[FrontEnd, ...], int, int]]) -> None:
        """Load the frames of some segments of one track into the cache. Raises FileNotFoundError."""
        front_ends, track, _ = keys[0]
        track_id, files = (self._tracks[name][track].as_py() for name in ("track_id", "segment_files"))
        missing = {key[2] for key in keys if key not in self._kept}
        for index, segment in segments_at(self._catalogue, track_id, files, missing):
            frames = self._frames(at_least_a_window(segment, self._model), front_ends)
            self._kept[front_ends, track, index] = frames
            self._bytes += _bytes_of(frames)

    def _with(self, front_end: FrontEnd) -> tuple[FrontEnd, ...]:
        """The front ends whose frames are computed together with those of `front_end`."""
        both = (self.audio, self.level)
        return both if front_end in both else (front_end,)

    def _frames(self, segment: Segment, front_ends: tuple[FrontEnd, ...]) -> dict[FrontEnd, Tensor]:
        """The frames of a segment by front end."""
        if self.level not in front_ends:
            return {front_end: frames_of(segment, front_end) for front_end in front_ends}
        whitened, level = heard(segment, self.level)
        return {self.audio: whitened.half(), self.level: level}


def _bytes_of(frames: Mapping[FrontEnd, Tensor]) -> int:
    return sum(one.nbytes for one in frames.values())


class HeardReferences:
    """Features of the references for verification. Implements matching.matched_filter.References."""

    def __init__(self, spans: SpanFeatures, tracks: pa.Table) -> None:
        self._spans = spans
        self._durations_s = tracks["duration_s"].to_numpy()

    def duration_s(self, reference: int) -> float:
        """The duration of the track in seconds."""
        return float(self._durations_s[reference])

    def features(self, reference: int, start_s: float, end_s: float) -> tuple[Tensor, float]:
        """As SpanFeatures.span."""
        return self._spans.span(self._spans.audio, reference, start_s, end_s)

    def levels(self, reference: int, start_s: float, end_s: float) -> tuple[Tensor, float]:
        """The same features before whitening."""
        return self._spans.span(self._spans.level, reference, start_s, end_s)
