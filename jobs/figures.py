"""Prints the figures of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from jobs import command

if TYPE_CHECKING:
    from asid_core.evaluation.report import Report


def show(reports: Mapping[str, Report], main: str, kind: str, format: str) -> None:
    """Print the report `main` and a comparison of all, as Markdown; a row for each figure for "csv" and "json".

    kind: what the names of the reports are, such as "stage".
    """
    if format != "table":
        rows = [{kind: name, **row} for name, report in reports.items() for row in report.rows()]
        command.show_rows(rows, format)
        return
    from pipelines.evaluate import comparison

    print(reports[main].to_markdown())
    print(comparison(reports, kind))
