"""Hit rates of short clips cut from annotated occurrences (Sample100-ext; arXiv:2506.14684, section 4).

The right answer for a clip is the reference whose occurrence it was cut from. Clips of one track sound alike, so
intervals are computed by resampling tracks, not clips.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from asid_core.evaluation.evaluate import HIT_RANKS, SPLITS, evaluate
from asid_core.evaluation.metrics import Protocol
from asid_core.evaluation.sample100 import Annotations, Clip, clip_truth
from asid_core.evaluation.statistics import Figure, clustered_figure

MEASURES = ("map", *(f"hit_at_{k}" for k in HIT_RANKS))

Figures = dict[str, Figure]


@dataclass(frozen=True)
class Rates:
    """Figures (by MEASURES) of the clips of one length under one protocol. groups: group -> value -> figures."""

    protocol: Protocol
    length_s: float
    cuts: int
    tracks: int
    figures: Figures
    groups: dict[str, dict[str, Figures]]


def rates(
    detections: pa.Table,
    clips: Collection[Clip],
    annotations: Annotations,
    protocol: Protocol,
    length_s: float,
    references: Collection[str] | None = None,
    seed: int = 0,
) -> Rates | None:
    """Score `detections` (schema.DETECTIONS), whose query ids are the names of clips; None without clips.

    Other arguments and errors as in `evaluate`.
    """
    if not clips:
        return None
    truth = clip_truth(clips, annotations)
    per_query = evaluate(detections, truth, protocol, references=references, seed=seed).per_query
    track_of = {clip.name: clip.track for clip in clips}

    def figures(names: Sequence[str]) -> Figures:
        tracks = [track_of[name] for name in names]
        return {m: clustered_figure([per_query[m][name] for name in names], tracks, seed) for m in MEASURES}

    groups: dict[str, dict[str, list[str]]] = {}
    for relation in truth.relations:
        for split in SPLITS:
            if split in relation.groups:
                groups.setdefault(split, {}).setdefault(relation.groups[split], []).append(relation.query)
    return Rates(
        protocol,
        length_s,
        len(track_of),
        len(set(track_of.values())),
        figures(sorted(track_of)),
        {g: {value: figures(names) for value, names in sorted(by.items())} for g, by in groups.items()},
    )


def to_markdown(rates: Iterable[Rates]) -> str:
    """Markdown tables: one row per protocol and length; then HR@1 of the strict protocol by group and length."""
    every = list(rates)
    lines = [
        f"| protocol | length (s) | cuts | tracks | {' | '.join(f'HR@{k}' for k in HIT_RANKS)} |",
        "|---" * (4 + len(HIT_RANKS)) + "|",
    ]
    for r in every:
        cells = " | ".join(str(r.figures[f"hit_at_{k}"]) for k in HIT_RANKS)
        lines.append(f"| {r.protocol} | {r.length_s:g} | {r.cuts} | {r.tracks} | {cells} |")
    strict = {r.length_s: r for r in every if r.protocol == "strict"}
    for split in SPLITS:
        values = sorted({value for r in strict.values() for value in r.groups.get(split, {})})
        if values:
            lines += ["", f"| {split}, HR@1 | {' | '.join(f'{length:g} s' for length in strict)} |"]
            lines.append("|---" * (1 + len(strict)) + "|")
            lines += [f"| {value} | {_cells(strict, split, value)} |" for value in values]
    return "\n".join(lines) + "\n"


def _cells(strict: Mapping[float, Rates], split: str, value: str) -> str:
    of = (r.groups.get(split, {}).get(value, {}).get("hit_at_1") for r in strict.values())
    return " | ".join(f"{figure} ({figure.n})" if figure else "-" for figure in of)
