"""Recomputes the figures of a sweep with fewer or more distractors."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np
import pyarrow as pa

from asid_core.config import Config
from asid_core.evaluation import metrics
from asid_core.evaluation.truth import Truth, track_name
from benchmarks.lib.calibration import expected_calibration_error, reliability
from benchmarks.lib.distractors import Tail

SURE = 1e-12  # keeps the log-odds of a score of exactly 0 or 1 finite
REPEATS = 40  # draws of synthetic distractors
CALIBRATED_BY = 5  # the best and the fifth best distractor are matched
NEIGHBOURS = 50  # real distractors on either side of a coarse score, from which verification results are drawn


@dataclass(frozen=True)
class Pair:
    """A verified pair of a query and a reference: the results of the coarse search and of all stages."""

    reference: str
    is_distractor: bool
    coarse: float
    log_odds: float  # of the final score, in the swept catalogue


@dataclass(frozen=True)
class Measured:
    """Figures for one number of distractors, averaged over draws."""

    recall: float  # share of true pairs that are verified
    map_coarse: float
    map_all: float
    map_hard: float
    auroc: float
    reported: float  # share of true pairs whose score reaches the threshold
    calibration_error: float
    false_alarms_per_hour: float

    TITLES: ClassVar = (
        "true reference verified",
        "mAP, coarse alone",
        "mAP",
        "mAP, hard",
        "AUROC",
        "found at the threshold",
        "ECE",
        "false alarms per hour",
    )

    @classmethod
    def header(cls) -> str:
        titles = ("distractors", "tracks", *cls.TITLES)
        return f"| {' | '.join(titles)} |\n{'|---' * len(titles)}|"

    def row(self, kind: str, tracks: int) -> str:
        ranked = (self.recall, self.map_coarse, self.map_all, self.map_hard, self.auroc)
        figures = (*ranked, self.reported, self.calibration_error)
        return f"| {kind} | {tracks:,} | {' | '.join(f'{f:.3f}' for f in figures)} | {self.false_alarms_per_hour:.2f} |"


def pairs_of(detections: pa.Table, truth: Truth, distractors: str) -> dict[str, list[Pair]]:
    """The verified pairs of every query, without what it ignores, by descending coarse score.

    distractors: prefix of their names.
    """
    names = {q.name: q.ignored for q in truth.queries}
    best: dict[tuple[str, str], tuple[float, float]] = {}
    columns = (detections[c].to_pylist() for c in ("query_id", "reference_id", "coarse_score", "score"))
    for query_id, reference_id, coarse, score in zip(*columns, strict=True):
        key = track_name(query_id), track_name(reference_id)
        if key[0] in names and key[1] not in names and key[1] not in names[key[0]]:
            known = best.get(key, (-math.inf, -math.inf))
            best[key] = max(known[0], coarse), max(known[1], score)
    pairs: dict[str, list[Pair]] = {name: [] for name in names}
    for (query, reference), (coarse, score) in best.items():
        odds = math.log(max(score, SURE) / max(1 - score, SURE))
        pairs[query].append(Pair(reference, reference.startswith(distractors), coarse, odds))
    return {query: sorted(some, key=lambda p: -p.coarse) for query, some in pairs.items()}


class Growth:
    """Ranks the references again with another set of distractors.

    pairs: the verified pairs of each query, from a sweep with all real distractors.
    """

    def __init__(
        self, truth: Truth, pairs: dict[str, list[Pair]], distractors: Sequence[str], config: Config, tries: int
    ) -> None:
        """distractors: names of all real distractors, verified or not. tries: of the sweep."""
        self.truth, self.pairs, self.config, self.tries = truth, pairs, config, tries
        self.relevant = truth.relevant()
        self.distractors = sorted(distractors)
        self.order = np.random.default_rng(0).permutation(len(self.distractors))
        heard = sorted((p.coarse, self._heard(p)) for some in pairs.values() for p in some if p.is_distractor)
        self._coarse, self._evidence = (np.array(column) for column in zip(*heard, strict=True))

    @property
    def num_distractors(self) -> int:
        return len(self.distractors)

    def _heard(self, pair: Pair) -> float:
        """The contribution of verification to the log-odds of a pair."""
        return pair.log_odds - self.config.score.of_coarse(pair.coarse)

    def _prior(self, size: int) -> float:
        """The change of every pair's log-odds if there are `size` distractors instead of all real ones."""
        references, score = len(self.truth.references), self.config.score
        larger = (references + size) / (references + self.num_distractors)
        return score.of_tries(self.tries) - score.of_tries(self.tries * larger)

    def _verify_tracks(self, size: int) -> int:
        """The number of tracks that are verified if there are `size` distractors."""
        return self.config.search.among(len(self.truth.references) + size).verify_tracks

    def with_real(self, size: int) -> Measured:
        """Figures with `size` real distractors. A larger size includes those of a smaller one."""
        there = {self.distractors[i] for i in self.order[:size]}
        return self._measured(lambda _: [], there, size, 1)

    def with_synthetic(self, size: int, tails: Mapping[str, Tail]) -> Measured:
        """Figures with `size` synthetic distractors and no real ones."""
        rng = np.random.default_rng(size)

        def drawn(query: str) -> list[Pair]:
            if query not in tails:
                return []
            best = tails[query].best(self._verify_tracks(size), size, rng)
            return [Pair(f"synthetic {i}", True, float(c), self._verified(float(c), rng)) for i, c in enumerate(best)]

        return self._measured(drawn, set(), size, REPEATS if size else 1)

    def _verified(self, coarse: float, rng: np.random.Generator) -> float:
        at = int(np.searchsorted(self._coarse, coarse))
        near = self._evidence[max(0, at - NEIGHBOURS) : at + NEIGHBOURS]
        return self.config.score.of_coarse(coarse) + float(rng.choice(near))

    def best_real(self, size: int, k: int = 1) -> list[float]:
        """Coarse scores of the k-th best of `size` real distractors, for queries with at least k verified ones."""
        there = {self.distractors[i] for i in self.order[:size]}
        scores_of = ([p.coarse for p in some if p.reference in there] for some in self.pairs.values())
        return [scores[k - 1] for scores in scores_of if len(scores) >= k]

    def best_synthetic(self, size: int, tails: Mapping[str, Tail], k: int = 1) -> list[float]:
        """Coarse scores of the k-th best of `size` synthetic distractors, for each query and repeat."""
        rng = np.random.default_rng(size)
        drawn = (tail.best(k, size, rng) for tail in tails.values() for _ in range(REPEATS))
        return [float(scores[k - 1]) for scores in drawn if len(scores) >= k]

    def calibrated(self, tails: Mapping[str, Tail]) -> tuple[dict[str, Tail], float, float]:
        """Calibrate the tails with a linear map of scores; returns the new tails, shift and scale.

        On average, the best and the CALIBRATED_BY-th best synthetic distractor then score as the real ones.
        """
        size = self.num_distractors
        real, drawn = (
            [float(np.mean(of(k))) for k in (1, CALIBRATED_BY)]
            for of in (lambda k: self.best_real(size, k), lambda k: self.best_synthetic(size, tails, k))
        )
        scale = (real[0] - real[1]) / (drawn[0] - drawn[1])
        shift = real[0] - scale * drawn[0]
        return {name: tail.moved(shift, scale) for name, tail in tails.items()}, shift, scale

    def _measured(self, drawn: Callable[[str], list[Pair]], there: set[str], size: int, repeats: int) -> Measured:
        draws = [self._once(drawn, there, size) for _ in range(repeats)]
        names = [field.name for field in fields(Measured)]
        return Measured(*(float(np.mean([getattr(m, name) for m in draws])) for name in names))

    def _once(self, drawn: Callable[[str], list[Pair]], there: set[str], size: int) -> Measured:
        prior, verified = self._prior(size), self._verify_tracks(size)
        verified_share, coarse_map, all_map, hard_map, best, labels = [], [], [], [], [], []
        scores: list[float] = []
        rights: list[bool] = []
        for query in self.truth.queries:
            swept = [p for p in self.pairs[query.name] if not p.is_distractor or p.reference in there]
            pairs = sorted(swept + drawn(query.name), key=lambda p: -p.coarse)[:verified]
            relevant = self.relevant[query.name]
            ranking = {p.reference: 1 / (1 + math.exp(-(p.log_odds + prior))) for p in pairs}
            scores += ranking.values()
            rights += [name in relevant for name in ranking]
            best.append(max(ranking.values(), default=0.0))
            labels.append(bool(relevant))
            if not relevant:
                continue
            verified_share += [float(name in ranking) for name in relevant]
            coarse_map.append(metrics.average_precision({p.reference: p.coarse for p in pairs}, relevant))
            all_map.append(metrics.average_precision(ranking, relevant))
            if query.groups.get("tier") == "hard":
                hard_map.append(all_map[-1])
        seconds = sum(query.duration_s or 0.0 for query in self.truth.queries)
        right, over = np.array(rights), np.array(scores) >= self.config.score.threshold
        return Measured(
            float(np.mean(verified_share)),
            float(np.mean(coarse_map)),
            float(np.mean(all_map)),
            float(np.mean(hard_map)) if hard_map else math.nan,
            metrics.auroc(labels, best),
            float((right & over).sum() / max(1, sum(map(len, self.relevant.values())))),
            expected_calibration_error(reliability(np.array(scores), right)),
            metrics.false_alarms_per_hour(int((over & ~right).sum()), seconds),
        )
