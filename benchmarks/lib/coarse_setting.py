"""The coarse search of one query with one setting, in this process, with windows of one or several lengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from asid_core.config import SAMPLE_RATE_HZ, Config, FirstPassConfig, ProbesConfig
from asid_core.matching.align import align
from asid_core.matching.coarse import ExactSearch, Hits
from asid_core.model.fingerprinter import Fingerprinter
from asid_core.signal.windows import query_centres
from benchmarks.lib.coarse_rows import References, features
from pipelines.search.exact import BLOCK_ROWS

KEPT = 40  # tracks that are ranked


@dataclass(frozen=True)
class Setting:
    """One setting. reach: semitones and tempo ratio up to which probes count. scales: numbers of the models."""

    dim: int = 256
    hop_s: float = 0.5
    reach: tuple[float, float] = (7.0, 1.72)
    first_pass: FirstPassConfig = FirstPassConfig(stride=2, dims=128, probes=5)
    scales: tuple[int, ...] = (0,)

    def chosen(self, config: Config) -> ProbesConfig:
        """The subset of the config's probes that this setting uses."""
        semitones, ratio = self.reach
        return ProbesConfig(
            tuple(pitch for pitch in config.probes.semitones if abs(pitch) <= semitones),
            tuple(tempo for tempo in config.probes.tempo_ratios if 1 / ratio <= tempo <= ratio),
        )


@dataclass(frozen=True)
class Scale:
    """A model and the windows of all references."""

    model: Fingerprinter
    references: References


@dataclass
class Heard:
    """The probed vectors of a query, [P, n, dim], and the centres of their windows in seconds [n], by scale."""

    hop_s: float
    vectors: list[Tensor] = field(default_factory=list)
    centres_s: list[np.ndarray] = field(default_factory=list)

    @classmethod
    def of(cls, path: Path, scales: Sequence[Scale], hop_s: float) -> Heard:
        """A recording with a window every hop_s seconds."""
        heard = cls(hop_s)
        for model in (scale.model for scale in scales):
            track = features(model, path)
            centres = query_centres(model.config.model.front_end, track.shape[1], hop_s)
            heard.vectors.append(model.probe(track, centres, model.config.probes.grid))
            heard.centres_s.append(centres.numpy() * model.hop_samples / SAMPLE_RATE_HZ)
        return heard


def found(heard: Heard, scales: Sequence[Scale], setting: Setting) -> list[int]:
    """Numbers of the tracks that a setting finds for a query, the one with most evidence first; KEPT at most."""
    config, some = scales[0].model.config, [scales[number] for number in setting.scales]
    probes, stride = setting.chosen(config).grid, round(setting.hop_s / heard.hop_s)
    centres_s = [heard.centres_s[number][::stride] for number in setting.scales]
    hits = _joined(
        [_hits(heard.vectors[number][:, ::stride], scales[number], setting) for number in setting.scales],
        [len(centres) for centres in centres_s],
        [len(scale.references.tracks) for scale in some],
    )
    tracks, rows_s = (
        np.concatenate([getattr(scale.references, column) for scale in some]) for column in ("tracks", "centres_s")
    )
    search = replace(config.search, verify_tracks=KEPT)
    lines = align(hits, np.concatenate(centres_s), probes, tracks, rows_s, some[0].model.window_s, search)
    order = sorted(lines, key=lambda line: -line.evidence)
    return list(dict.fromkeys(line.reference for line in order))


def _hits(vectors: Tensor, scale: Scale, setting: Setting) -> Hits:
    every, chosen = scale.model.config.probes.grid, setting.chosen(scale.model.config)
    own = vectors[[every.index(probe) for probe in chosen.grid], :, : setting.dim]
    dims = min(setting.first_pass.dims, setting.dim)
    first_pass = replace(setting.first_pass, dims=dims, probes=chosen.alike(setting.first_pass.probes))
    search = ExactSearch(F.normalize(own, dim=2), scale.model.config.search.hits_per_window, first_pass)
    for start in range(0, len(scale.references.vectors), BLOCK_ROWS):
        rows = scale.references.vectors[start : start + BLOCK_ROWS, : setting.dim]
        search.add(F.normalize(rows, dim=1), start)
    return search.hits()


def _joined(found: Sequence[Hits], windows: Sequence[int], rows: Sequence[int]) -> Hits:
    """The hits of all scales. windows, rows: their numbers by scale; those of a second one are numbered on."""
    moved = [
        replace(hits, window=hits.window + sum(windows[:n]), row=hits.row + sum(rows[:n]))
        for n, hits in enumerate(found)
    ]
    return Hits(*(np.concatenate([getattr(hits, one.name) for hits in moved]) for one in fields(Hits)))
