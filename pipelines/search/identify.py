"""Identifies tracks one by one: probe, search, align, rerank, verify, score. Does not use Ray."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from asid_core.config import SAMPLE_RATE_HZ, Config
from asid_core.matching import direction
from asid_core.matching.align import align
from asid_core.matching.coarse import Hits
from asid_core.matching.coherence import Waveform, part, with_coherence
from asid_core.matching.detection import Detection, ranked
from asid_core.matching.matched_filter import Recording
from asid_core.matching.other_side import seen_from_reference, without_alternatives
from asid_core.matching.rerank import verify
from asid_core.matching.score import Track, scored
from asid_core.matching.verify import Verified, Verifier
from asid_core.model.fingerprinter import Fingerprinter
from asid_core.signal.windows import query_centres
from pipelines.search.approximate import IndexedReferences
from pipelines.search.exact import ExactReferences, Queries, References, num_rows
from pipelines.search.features import HeardReferences, SpanFeatures, TrackFeatures, features_of
from pipelines.search.rerank import rerank
from pipelines.search.voted import VotedReferences, VoteTable
from pipelines.search.waveforms import ReferenceWaveforms
from pipelines.store.audio import Segment
from pipelines.store.catalogue import Catalogue

SEARCH_BYTES = 128 * 1024**2  # of query vectors searched together; the search holds three copies
TOGETHER_S = 6 * 3600.0  # duration of tracks searched together; their features and waveforms take 850 MB
PIECE_WINDOWS = 512  # windows of a track that are probed and searched at once
SPAN_BYTES = 256 * 1024**2  # cache of reference features per worker, some 4.5 hours
FEATURES_BYTES = 820 * 1024**2  # of the tracks searched together
SECOND_LOOK_S = 2 * 3600.0  # longest track whose samples are looked for from its own side as well; takes 112 MB
PROGRAM_BYTES = 700 * 1024**2  # of a worker before it searches: Python, torch, Ray, a model
VOTES_BYTES = 540 * 1024**2  # while the lists of many vectors are sorted
EXACT_ROW_BYTES = 12  # of each row of the table in exact search; votes are in memory that the workers share


@dataclass
class _Query:
    """A track in progress: its windows, without silent ones, and its hits so far."""

    features: TrackFeatures
    backwards: bool
    centres: Tensor  # float64 [n], in frames
    hits: list[Hits] = field(default_factory=list)
    searched: int = 0  # number of windows searched

    @property
    def is_searched(self) -> bool:
        return self.searched == len(self.centres)


def identifier_bytes(rows: int, takes_votes: bool) -> float:
    """The memory that a worker of a sweep with an Identifier needs at most. rows: of the table."""
    of_rows = VOTES_BYTES if takes_votes else rows * EXACT_ROW_BYTES
    return PROGRAM_BYTES + 3 * SEARCH_BYTES + FEATURES_BYTES + SPAN_BYTES + of_rows


class Identifier:
    """Identifies tracks with a model, references and settings. A worker keeps it for all its tracks."""

    def __init__(
        self,
        catalogue: Catalogue,
        model: Fingerprinter,
        config: Config,
        references: References,
        votes: VoteTable | None = None,
    ) -> None:
        """votes: of the references, if these are too many for exact search."""
        self._votes = votes
        self.model, self._config, self._references = model.for_inference(), config, references
        self._probes, self._search = config.probes.grid, config.search.among(len(references.tracks))
        self.candidates = 0  # that it has looked at so far
        self._own = {track_id: i for i, track_id in enumerate(references.tracks["track_id"].to_pylist())}
        self._spans = SpanFeatures(catalogue, references.tracks, self.model, config.verify.features, SPAN_BYTES)
        self._heard = HeardReferences(self._spans, references.tracks)
        self._waveforms = ReferenceWaveforms(catalogue, references.tracks)
        self._catalogue = catalogue
        # count the whole catalogue even if only new tracks are searched, so that scores are comparable
        ways = 2 if config.probes.reversed else 1
        self._tries = references.num_rows * len(self._probes) * ways

    @functools.cached_property
    def _searched(self) -> ExactReferences | IndexedReferences | VotedReferences:
        """The references to search. Exact search holds 12 bytes a row, so it is only made if it is used."""
        if self._votes is not None:
            return VotedReferences(self._votes, self._references, self._config)
        exact = num_rows(self._catalogue, self._references) < self._config.search.exact_below_rows
        kind = ExactReferences if exact else IndexedReferences
        return kind(self._catalogue, self._references, self._config)

    def excerpts(self, tracks: Mapping[str, str]) -> None:
        """Register the names of excerpts, with the track_id of each. An excerpt is not searched in its own track."""
        self._own.update({name: self._own[track_id] for name, track_id in tracks.items() if track_id in self._own})

    def identify(self, segments: Iterable[Segment]) -> Iterator[tuple[str, list[Detection]]]:
        """Yield (track_id, detections, best first) for each track.

        Tracks are searched together until their vectors fill SEARCH_BYTES or their duration reaches TOGETHER_S. Long
        tracks are searched in parts.
        """
        waiting: list[list[_Query]] = []  # of one track each
        together: list[tuple[_Query, int, Tensor]] = []
        for features in features_of(segments, self.model, self._config.verify.features):
            waiting.append(self._queries(features))
            for query, start in self._parts(waiting[-1]):
                centres = query.centres[start : start + PIECE_WINDOWS]
                together.append((query, start, self.vectors(query.features, centres)))
                if sum(vectors.nbytes for _, _, vectors in together) >= SEARCH_BYTES:
                    self._look_up(together)
                    together = []
            frames = sum(query.features.model.shape[1] for queries in waiting for query in queries)
            if frames * self.model.hop_samples >= TOGETHER_S * SAMPLE_RATE_HZ:
                self._look_up(together)
                together = []
            while waiting and all(query.is_searched for query in waiting[0]):
                yield self._finished(waiting.pop(0))
        self._look_up(together)
        yield from map(self._finished, waiting)

    def _queries(self, features: TrackFeatures) -> list[_Query]:
        """A track as it is, and also reversed if `probes.reversed` is set."""
        queries = [_Query(features, False, self.centres(features))]
        if self._config.probes.reversed:
            backwards = features.played_backwards()
            queries.append(_Query(backwards, True, self.centres(backwards)))
        return queries

    @staticmethod
    def _parts(queries: Sequence[_Query]) -> Iterator[tuple[_Query, int]]:
        """Each query with the first window of each of its parts."""
        for query in queries:
            for start in range(0, len(query.centres), PIECE_WINDOWS):
                yield query, start

    def centres(self, features: TrackFeatures) -> Tensor:
        """Centres of the query windows, float64 [n] in frames: one every `probes.query_hop_s`, or all if that is 0."""
        front = self.model.config.model.front_end
        centres = query_centres(front, features.model.shape[1], self._config.probes.query_hop_s)
        return centres[features.level_db(centres, front.window_frames) >= self._config.search.silence_db]

    def vectors(self, features: TrackFeatures, centres: Tensor) -> Tensor:
        """Probed vectors [P, n, dim], in float16, of the windows around `centres`. Only reads the frames they need."""
        window_frames = self.model.config.model.front_end.window_frames
        reach = int(window_frames / 2 / min(self._config.probes.tempo_ratios)) + 2
        start = max(0, int(centres[0]) - reach)
        frames = features.model[:, start : int(centres[-1]) + reach]
        return self.model.probe(frames, centres - start, self._probes).half()  # twice as many in the same memory

    def _look_up(self, together: Sequence[tuple[_Query, int, Tensor]]) -> None:
        if not together:
            return
        queries = [
            Queries(
                vectors,
                self._seconds(query.centres[start : start + vectors.shape[1]]),
                self._own.get(query.features.track_id),
            )
            for query, start, vectors in together
        ]
        for (query, start, vectors), hits in zip(together, self._searched.search(queries), strict=True):
            query.hits.append(dataclasses.replace(hits, window=hits.window + start))
            query.searched += vectors.shape[1]

    def _seconds(self, centres: Tensor) -> np.ndarray:
        """Centres in frames as seconds."""
        seconds: np.ndarray = centres.numpy() * self.model.hop_samples / SAMPLE_RATE_HZ
        return seconds

    def _finished(self, queries: Sequence[_Query]) -> tuple[str, list[Detection]]:
        """The detections of a track, best first."""
        return queries[0].features.track_id, ranked(one for query in queries for one in self._detections(query))

    def _detections(self, query: _Query) -> list[Detection]:
        """Align, rerank, verify and score the hits of a query."""
        if not query.hits:
            return []
        hits = Hits(*(np.concatenate([getattr(part, f.name) for part in query.hits]) for f in dataclasses.fields(Hits)))
        numbers, row = np.unique(hits.row, return_inverse=True)
        hits, rows = dataclasses.replace(hits, row=row), self._searched.places(numbers)
        centres_s = self._seconds(query.centres)
        once = self._references.order is not None
        candidates = align(hits, centres_s, self._probes, *rows, self.model.window_s, self._search, once)
        candidates = rerank(
            self.model, query.features, query.centres, self._spans, rows, candidates, self._config.search.rerank_pairs
        )
        track = query.features
        verifier = Verifier(Recording(track.audio, track.duration_s), self._heard, self._config.verify)
        self.candidates += len(candidates)
        verified = verify(candidates, verifier, self.model.reranker)
        of_references: dict[int, list[Verified]] = {}
        for one in verified:
            of_references.setdefault(one.candidate.reference, []).append(one)
        return [one for reference, places in of_references.items() for one in self._of_pair(reference, places, query)]

    def _of_pair(self, reference: int, places: list[Verified], query: _Query) -> list[Detection]:
        """The detections of a query in one reference, or of the reference in the query if it probably samples it."""
        sampler = self._direction(reference, places, query.features)
        once = self._references.order is not None
        if once and (turned := self._turned(reference, places, query, sampler)):
            return turned
        places = with_coherence(places, *self._waveforms_of(reference, query))
        some = without_alternatives(places, self._config.search.places_per_track) if once else places
        track, duration_s = query.features, self._heard.duration_s(reference)
        both = Track(track.track_id, track.duration_s), Track(self._name(reference), duration_s)
        found = self._scored(some, *both, sampler)
        return [self._forwards(one, track) for one in found] if query.backwards else found

    def _turned(self, reference: int, places: list[Verified], query: _Query, sampler: float | None) -> list[Detection]:
        """The detections of a reference in the query, if it probably samples it and matches from that side as well."""
        duration_s = self._heard.duration_s(reference)
        if sampler is None or sampler >= 0.5 or query.backwards or duration_s > SECOND_LOOK_S:
            return []
        heard = [one for one in places if one.is_match]
        whole, _ = self._heard.features(reference, 0.0, duration_s)
        track, other = Recording(query.features.audio, query.features.duration_s), Recording(whole, duration_s)
        seen = seen_from_reference(heard, track, other, self._config.verify, self.model.reranker)
        if not any(one.is_match for one in seen):
            return []
        seen = with_coherence(seen, *self._waveforms_of(reference, query)[::-1])
        names = Track(self._name(reference), duration_s), Track(query.features.track_id, track.duration_s)
        return self._scored(seen, *names, 1 - sampler)

    def _waveforms_of(self, reference: int, query: _Query) -> tuple[Waveform, Waveform]:
        """What gives the waveforms of a query and of a reference."""
        return (
            functools.partial(part, query.features.waveform),
            functools.partial(self._waveforms.span, reference),
        )

    def _direction(self, reference: int, places: Sequence[Verified], query: TrackFeatures) -> float | None:
        """Probability that the query samples a reference; None if there is too little evidence."""
        levels = functools.partial(self._heard.levels, reference)
        return direction.of_pair(query.level, levels, places, self._config.verify)

    def _name(self, reference: int) -> str:
        name: str = self._references.tracks["track_id"][reference].as_py()
        return name

    def _scored(
        self, places: Sequence[Verified], query: Track, reference: Track, sampler: float | None
    ) -> list[Detection]:
        return scored(places, query, reference, self._tries, sampler, self._references.model_id, self._config.score)

    def _forwards(self, found: Detection, track: TrackFeatures) -> Detection:
        """A detection of a track played backwards, with its times in the track as it is."""
        frames_s = track.frames_s(self.model.hop_samples)
        start_s, end_s = max(0.0, frames_s - found.query_end_s), min(track.duration_s, frames_s - found.query_start_s)
        return dataclasses.replace(found, query_start_s=start_s, query_end_s=end_s, reversed=True)
