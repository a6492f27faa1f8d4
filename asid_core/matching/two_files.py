"""Compares two files: does one recording sample the other? Needs neither Ray nor a catalogue."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from asid_core.config import SAMPLE_RATE_HZ, Config
from asid_core.matching import direction
from asid_core.matching.align import align
from asid_core.matching.coarse import ExactSearch, Hits
from asid_core.matching.coherence import at_rate, part, with_coherence
from asid_core.matching.detection import Detection, ranked
from asid_core.matching.matched_filter import OneTrack, Recording
from asid_core.matching.relations import relate
from asid_core.matching.rerank import verify
from asid_core.matching.score import Track, scored
from asid_core.matching.verify import Verifier
from asid_core.model.fingerprinter import Fingerprinter
from asid_core.schema import DETECTIONS
from asid_core.signal.decode import DecodeError
from asid_core.signal.level import read_levelled
from asid_core.signal.log_frequency import LevelFrontEnd
from asid_core.signal.windows import padded_to_window, query_centres


@dataclass(frozen=True)
class TwoFiles:
    """What two recordings share. `places` are sorted best first, with the first file as the query.

    query_samples: probability that the first file samples the second rather than the reverse; None if there is too
    little evidence. Times are in seconds from the start of each file.
    """

    kind: str  # 'sample' | 'duplicate'
    score: float  # calibrated probability of the best place, 0..1
    query_samples: float | None
    query_s: float  # seconds of the query that the places cover
    reference_s: float
    places: tuple[Detection, ...]


class _Heard:
    """A whole recording with its features."""

    def __init__(self, path: str, model: Fingerprinter) -> None:
        try:
            wave = torch.from_numpy(read_levelled(path, model.config.segment))
        except DecodeError as error:
            raise DecodeError(error.error_type, f"{path}: {error.message}") from None
        self.track = Track(path, len(wave) / SAMPLE_RATE_HZ)
        self.compared = at_rate(wave)
        wave = padded_to_window(model.config.model.front_end, wave, 0)
        level = LevelFrontEnd(model.config.verify.features)
        self.wave = wave
        self.level = level(wave[None])
        self.recording = Recording(level.whitened(self.level)[0], self.track.duration_s)
        self.level = self.level[0]


@torch.no_grad()
def identify(query_path: str | Path, reference_path: str | Path, weights: str = "discriminant") -> TwoFiles | None:
    """What the recording at `query_path` shares with the one at `reference_path`; None if no score is high enough.

    Both are decoded into memory. `weights`: the name of a shipped model, or a directory. The score is calibrated for
    catalogues; it may be too high for two tracks of the same style and tempo. Raises DecodeError, which names the
    file, if one cannot be read or is silent.
    """
    model = Fingerprinter.from_pretrained(weights).for_inference()
    query, reference = _Heard(str(query_path), model), _Heard(str(reference_path), model)
    found = _detections(query, reference, model, model.config)
    kept = [one for one in found if one.score >= model.config.score.threshold]
    if not kept:
        return None
    rows = pa.Table.from_pylist([one.row() for one in kept], schema=DETECTIONS)
    relation = relate(rows, {}).table.to_pylist()[0]
    same_way = relation["query_id"] == query.track.name
    seconds = (relation["query_s"], relation["reference_s"])
    return TwoFiles(
        relation["kind"], kept[0].score, kept[0].direction, *(seconds if same_way else seconds[::-1]), tuple(kept)
    )


def _detections(query: _Heard, reference: _Heard, model: Fingerprinter, config: Config) -> list[Detection]:
    """All verified places, best first. Steps: probe, search, align, verify, score."""
    features = model.features(query.wave[None])[0]
    centres = query_centres(model.config.model.front_end, features.shape[1], config.probes.query_hop_s)
    vectors = model.probe(features, centres, config.probes.grid)
    stored = model.fingerprint(reference.wave)
    search = ExactSearch(vectors, config.search.hits_per_window)
    search.add(stored.vectors, 0)
    candidates = align(
        _with_common_background(search),
        centres.numpy() * model.hop_samples / SAMPLE_RATE_HZ,
        config.probes.grid,
        np.zeros(len(stored.vectors), np.int32),
        stored.start_s.numpy() + model.window_s / 2,
        model.window_s,
        config.search,
    )
    verifier = Verifier(query.recording, OneTrack(reference.recording), config.verify)
    verified = verify(candidates, verifier, model.reranker)
    waveforms = (functools.partial(part, one.compared) for one in (query, reference))
    verified = with_coherence(verified, *waveforms)
    sampler = direction.of_pair(query.level, lambda *_: (reference.level, 0.0), verified, config.verify)
    tries = len(stored.vectors) * len(config.probes.grid)
    both = query.track, reference.track
    return ranked(scored(verified, *both, tries, sampler, model.model_id, config.score))


def _with_common_background(search: ExactSearch) -> Hits:
    """The hits, with z-scores against the common background of all windows.

    A single reference has too few groups to estimate the background of each query window separately: true matches
    would be a large part of it.
    """
    hits = search.hits()
    means, deviations = search.background.statistics()
    mean = float(means.median())
    deviation = float((deviations.square().mean() + means.var(correction=0)).sqrt())
    return replace(hits, z_score=(hits.cosine - mean) / max(deviation, 1e-3))
