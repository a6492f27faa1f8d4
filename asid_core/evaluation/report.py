"""The figures of a system on a truth, with confidence intervals, as plain values and as Markdown tables."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from asid_core.evaluation.statistics import Figure, Paired, paired

TITLES = {
    "map": "mAP",
    "hit_at_1": "hit rate at 1",
    "hit_at_3": "hit rate at 3",
    "hit_at_5": "hit rate at 5",
    "hit_at_10": "hit rate at 10",
    "mean_rank": "mean normalised rank",
    "median_rank": "median normalised rank",
    "auroc": "samples something or nothing, AUROC",
    "auprc": "samples something or nothing, area under precision-recall",
    "recall": "pairs found at the threshold",
    "precision": "pairs reported at the threshold that are right",
    "nothing_kept_empty": "queries that sample nothing and come back empty",
    "false_alarms_per_hour": "false alarms an hour of query audio",
    "query_iou": "temporal IoU, query",
    "reference_iou": "temporal IoU, reference",
    "within_5_s": "both starts within 5 s",
    "within_1_s": "both starts within 1 s",
    "start_error_s": "start error, median of found (s)",
    "alignment_error_s": "alignment error, median of found (s)",
    "tempo_error": "tempo ratio error, median of found",
    "pitch_error": "pitch error, median of found (semitones)",
    "tempo_right": "tempo ratio within 2 %, of pairs found at the threshold",
    "pitch_right": "pitch within half a semitone, of pairs found at the threshold",
    "direction_right": "direction right, of pairs found at the threshold whose direction is told",
}


COLUMNS = {
    "map": "mAP",
    "hit_at_1": "HR@1",
    "within_5_s": "within 5 s",
    "nothing_kept_empty": "come back empty",
    "auroc": "AUROC",
}
NOTHING = "samples nothing"  # the group of queries without a relation
COMPARED = ("map", "hit_at_1", "hit_at_10")


@dataclass(frozen=True)
class Report:
    """An evaluation: figures by name (TITLES), group -> value -> figures, and per_query measure -> query -> value."""

    protocol: str
    threshold: float
    num_queries: int
    num_references: int
    figures: dict[str, Figure]
    groups: dict[str, dict[str, dict[str, Figure]]]
    per_query: dict[str, dict[str, float]]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON. Values that could not be measured are None."""
        return {name: plain(value) for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Report:
        """The inverse of `to_dict`. Raises KeyError or TypeError for other values."""
        groups = {
            group: {value: _figures(figures) for value, figures in by_value.items()}
            for group, by_value in values["groups"].items()
        }
        return cls(**{**values, "figures": _figures(values["figures"]), "groups": groups})

    def rows(self) -> list[dict[str, Any]]:
        """A row for each figure that could be measured, of all queries (`group` is empty) and of each group."""
        parts = [("", "", self.figures)]
        parts += [(group, value, some) for group, values in self.groups.items() for value, some in values.items()]
        return [
            {"group": group, "of": value, "figure": name, **asdict(figure)}
            for group, value, figures in parts
            for name, figure in figures.items()
            if figure.n and not math.isnan(figure.value)
        ]

    def to_markdown(self) -> str:
        lines = [
            f"{self.num_queries} queries, {self.num_references} references, protocol `{self.protocol}`, threshold "
            f"{self.threshold:g}; 95 % bootstrap intervals over queries.",
            "",
            "| | |",
            "|---|---|",
            *(f"| {TITLES[name]} | {figure} |" for name, figure in self.figures.items() if figure.n),
        ]
        for group, values in self.groups.items():
            names = ("nothing_kept_empty", "auroc") if group == NOTHING else ("map", "hit_at_1", "within_5_s")
            lines += ["", f"| {group} | n | {' | '.join(COLUMNS[name] for name in names)} |"]
            lines.append("|---" * (2 + len(names)) + "|")
            for value, figures in values.items():
                cells = " | ".join(str(figures[name]) for name in names)
                lines.append(f"| {value} | {figures[names[0]].n} | {cells} |")
        return "\n".join(lines) + "\n"


def compare(a: Report, b: Report, measure: str = "map", seed: int = 0) -> Paired:
    """Paired test of a minus b for one measure of `per_query`. Raises ValueError if their queries differ."""
    first, second = a.per_query[measure], b.per_query[measure]
    if set(first) != set(second):
        raise ValueError("the two reports are for different queries; evaluate both systems on the same benchmark")
    names = sorted(first)
    return paired(np.array([first[n] for n in names]), np.array([second[n] for n in names]), seed)


def paired_table(a: Report, b: Report, names: tuple[str, str]) -> str:
    """A Markdown table of paired tests of a minus b for the measures COMPARED. `names` labels the two systems."""
    lines = [f"| {names[0]} minus {names[1]}, same queries | difference, 95 % interval, p |", "|---|---|"]
    lines += [f"| {TITLES[measure]} | {compare(a, b, measure)} |" for measure in COMPARED]
    return "\n".join(lines) + "\n"


def _figures(values: dict[str, Any]) -> dict[str, Figure]:
    read = {name: {key: math.nan if v is None else v for key, v in figure.items()} for name, figure in values.items()}
    return {name: Figure(f["value"], f["low"], f["high"], int(f["n"])) for name, f in read.items()}


def plain(value: Any) -> Any:
    """Nested values for JSON, with None for numbers that are not finite."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
