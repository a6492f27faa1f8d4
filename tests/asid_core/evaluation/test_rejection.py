"""Queries that sample nothing, by kind."""

from __future__ import annotations

from dataclasses import replace

import pytest

from asid_core.evaluation.evaluate import evaluate
from asid_core.evaluation.report import NOTHING, Report
from tests.asid_core.evaluation.test_evaluate import table, truth


def test_each_kind_of_nothing_has_its_own_figures() -> None:
    """True pairs score 0.9. Queries that sample nothing but resemble a reference score 0.95."""
    kinds = {f"q{i:02d}": "none_alike" if i < 30 else "none" for i in range(4, 60, 5)}
    queries = tuple(replace(q, groups={"tier": kinds.get(q.name, "exact")}) for q in truth().queries)
    rows = [(r.query, r.reference, 0.9) for r in truth().relations]
    rows += [(name, "r00", 0.95) for name, kind in kinds.items() if kind == "none_alike"]
    report = evaluate(table(rows), replace(truth(), queries=queries))
    found = report.groups[NOTHING]
    assert {kind: figures["auroc"].value for kind, figures in found.items()} == {"none": 1.0, "none_alike": 0.0}
    assert {kind: figures["nothing_kept_empty"].n for kind, figures in found.items()} == {"none": 6, "none_alike": 6}
    assert report.figures["auroc"].value == pytest.approx(0.5)
    text = report.to_markdown()
    assert "| samples nothing | n | come back empty | AUROC |" in text and "| none_alike | 6 | 0.000" in text
    assert Report.from_dict(report.to_dict()) == report
