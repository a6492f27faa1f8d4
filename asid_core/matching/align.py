"""Groups the hits of one query into candidates: hits on a line t_reference = t_0 + tempo_ratio * t_query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asid_core.config import SearchConfig
from asid_core.matching.coarse import Hits
from asid_core.matching.span import Span

TOLERANCE_S = 0.5  # distance from the line: half a probe's step over half a patch, plus two hops
MAX_RATIO, RATIO_STEP = 2.0, 0.025
PROBE_RATIO_ERROR = 0.05  # probes are 8 % apart in tempo, so the error is up to 4 %
PITCH_ERROR = 1.0  # a sample shifted by 1.5 semitones matches the probes of 1 and of 2
HITS_PER_SCORE = 3
# z-score of a window's best hit by chance. What is above it is evidence; it fills in for the missing hits of a short
# sample.
CHANCE_Z_SCORE = 2.5
NEAR_S = 1.0  # hits that are nearer are at the same place
ANOTHER_PLACE = 4.0  # minimum coarse score of a further place of a pair; a single hit needs a z-score of 7


@dataclass(frozen=True)
class Candidate:
    """An aligned run of hits of one (query, reference) pair. Times in seconds of the tracks."""

    reference: int  # index of the reference track
    pitch_semitones: float
    tempo_ratio: float
    query_centre_s: float  # of the strongest hit
    reference_centre_s: float
    span: Span  # of the windows on the line; may reach beyond either track
    coarse_score: float  # mean z_score of its HITS_PER_SCORE best hits
    # sum over these hits of (z_score - CHANCE_Z_SCORE)^2; decides which references go on: a single strong hit says more
    # than three weak ones
    evidence: float
    cosine: float  # of the strongest hit
    window_pairs: np.ndarray  # int64 [m, 2]: query window, reference row; strongest first
    rerank_score: float | None = None  # None if no reranker scored it

    @property
    def num_windows(self) -> int:
        """Number of query windows on the line."""
        return len(self.window_pairs)


@dataclass(frozen=True)
class _Points:
    """Hits of one pair as columns, strongest first."""

    query_s: np.ndarray
    reference_s: np.ndarray
    z_score: np.ndarray
    cosine: np.ndarray
    pitch: np.ndarray
    ratio: np.ndarray
    window: np.ndarray
    row: np.ndarray

    def take(self, chosen: np.ndarray) -> _Points:
        return _Points(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


def align(
    hits: Hits,
    query_centres_s: np.ndarray,
    probes: Sequence[tuple[float, float]],
    row_track: np.ndarray,
    row_centre_s: np.ndarray,
    window_s: float,
    config: SearchConfig,
    either_way: bool = False,
) -> list[Candidate]:
    """Candidates of one query track in its `config.verify_tracks` best references, strongest first.

    either_way: the reference may sample the query as well, so the same seconds of the query may be at several places of
    the reference.

    query_centres_s [n]: by query window. probes: (semitones, tempo_ratio) by probe. row_track, row_centre_s: by row of
    the reference table. A single probe does not determine the tempo, so ratios from 1/2 to 2 are tried.
    """
    pitches, ratios = np.array(probes, dtype=np.float64).T
    order = np.argsort(-hits.z_score, kind="stable")
    points = _Points(
        query_s=query_centres_s[hits.window[order]],
        reference_s=row_centre_s[hits.row[order]],
        z_score=hits.z_score[order],
        cosine=hits.cosine[order],
        pitch=pitches[hits.probe[order]],
        ratio=ratios[hits.probe[order]],
        window=hits.window[order].astype(np.int64),
        row=hits.row[order],
    )
    tracks = row_track[points.row]
    # tracks by their strongest hit; twice as many as are kept, since a line of weaker hits may hold more evidence
    _, first = np.unique(tracks, return_index=True)
    promising = tracks[np.sort(first)][: 2 * config.verify_tracks]
    probed = len(probes) > 1
    runs = [
        _lines(points.take(tracks == track), int(track), probed, window_s, config, either_way) for track in promising
    ]
    runs.sort(key=lambda run: -max(line.evidence for line in run))
    return sorted((c for run in runs[: config.verify_tracks] for c in run), key=lambda c: -c.coarse_score)


def _lines(
    points: _Points, track: int, probed: bool, window_s: float, config: SearchConfig, either_way: bool
) -> list[Candidate]:
    """The strongest lines through the hits of one pair, and strong lines at other places. Uses each hit once."""
    lines: list[Candidate] = []
    taken = np.empty((2, 0))  # times in query and reference of the hits of `lines`
    while len(points.query_s) and (len(lines) < config.places_per_track or points.z_score[0] >= ANOTHER_PLACE):
        on_line, ratio = _line_through_first(points, probed)
        hits, points = points.take(on_line), points.take(~on_line)
        line = _candidate(hits, track, ratio, window_s)
        if len(lines) < config.places_per_track or _is_another_place(line, taken, either_way):
            lines.append(line)
            taken = np.concatenate([taken, [hits.query_s, hits.reference_s]], 1)
    return sorted(lines, key=lambda c: -c.coarse_score)


def _is_another_place(line: Candidate, taken: np.ndarray, either_way: bool) -> bool:
    """Whether a line is strong, and no hit of the stronger lines of its pair is near its strongest one.

    Not whether it is outside their spans: a chance hit far away makes a span long. Near: in the query; with
    `either_way`, in the reference as well. taken [2, h]: times of these hits in query and reference.
    """
    if line.coarse_score < ANOTHER_PLACE:
        return False
    near = np.abs(taken[0] - line.query_centre_s) < NEAR_S
    if either_way:
        near &= np.abs(taken[1] - line.reference_centre_s) < NEAR_S
    return not near.any()


def _line_through_first(points: _Points, probed: bool) -> tuple[np.ndarray, float]:
    """The line through the strongest hit with the most z_score on it: (bool [h], hits on the line; tempo ratio)."""
    if probed:
        slopes = points.ratio[0] * (1 + np.linspace(-PROBE_RATIO_ERROR, PROBE_RATIO_ERROR, 11))
    else:
        steps = int(np.log(MAX_RATIO) / RATIO_STEP)
        slopes = np.exp(np.arange(-steps, steps + 1) * RATIO_STEP)
    some = _of_similar_probes(points) if probed else np.arange(len(points.query_s))
    near = points.take(some)
    along, across = near.query_s - points.query_s[0], near.reference_s - points.reference_s[0]
    close = np.abs(across[:, None] - along[:, None] * slopes) <= TOLERANCE_S
    if probed:
        close &= np.abs(np.log(near.ratio[:, None] / slopes)) <= 2 * PROBE_RATIO_ERROR
    close[0] = True
    # prefer the slope nearest to 1 in a tie: a single hit fits every slope
    support = (close * np.maximum(near.z_score, 0)[:, None] ** 2).sum(0) - 1e-6 * np.abs(np.log(slopes))
    best = int(support.argmax())
    on_line = np.zeros(len(points.query_s), bool)
    on_line[some[close[:, best]]] = True
    return on_line, float(slopes[best])


def _of_similar_probes(points: _Points) -> np.ndarray:
    """Indices of the hits whose probes may be on one line with the strongest hit's.

    Slopes are within PROBE_RATIO_ERROR of its tempo, and hits within twice that of a slope; 0.01 is for the logarithms.
    """
    ratios = np.abs(np.log(points.ratio / points.ratio[0])) <= 3 * PROBE_RATIO_ERROR + 0.01
    return np.flatnonzero(ratios & (np.abs(points.pitch - points.pitch[0]) <= PITCH_ERROR))


def _candidate(points: _Points, track: int, ratio: float, window_s: float) -> Candidate:
    _, first = np.unique(points.window, return_index=True)  # the best hit of each query window
    points = points.take(np.sort(first))
    best = np.full(HITS_PER_SCORE, CHANCE_Z_SCORE)
    best[: len(points.z_score)] = points.z_score[:HITS_PER_SCORE]
    query_s, reference_s = float(points.query_s[0]), float(points.reference_s[0])
    half_s = window_s / 2 / ratio
    before_s, after_s = (float(abs(far - query_s)) + half_s for far in (points.query_s.min(), points.query_s.max()))
    return Candidate(
        reference=track,
        pitch_semitones=float(points.pitch[0]),
        tempo_ratio=ratio,
        query_centre_s=query_s,
        reference_centre_s=reference_s,
        span=Span.around(query_s, reference_s, ratio, before_s, after_s),
        coarse_score=float(best.mean()),
        evidence=float(np.square((best - CHANCE_Z_SCORE).clip(min=0)).sum()),
        cosine=float(points.cosine[0]),
        window_pairs=np.stack([points.window, points.row], 1),
    )
