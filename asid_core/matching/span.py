"""A span: a time interval of a query and the matching interval of a reference."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """Both sides of a match, in seconds of the tracks, related by `t_reference = t_0 + tempo_ratio * t_query`.

    The end in the reference follows from the other fields, so both sides stay consistent when the span is clipped.
    """

    query_start_s: float
    query_end_s: float
    reference_start_s: float
    tempo_ratio: float

    @classmethod
    def around(cls, query_s: float, reference_s: float, tempo_ratio: float, before_s: float, after_s: float) -> Span:
        """The span around a pair of matching times. `before_s`, `after_s`: its extent in seconds of the query."""
        start_s = reference_s - tempo_ratio * before_s
        return cls(query_s - before_s, query_s + after_s, start_s, tempo_ratio)

    @property
    def reference_end_s(self) -> float:
        """The time in the reference that matches the end in the query."""
        return self.reference_at(self.query_end_s)

    def reference_at(self, query_s: float) -> float:
        """The time in the reference that matches a time in the query."""
        return self.reference_start_s + self.tempo_ratio * (query_s - self.query_start_s)

    def query_at(self, reference_s: float) -> float:
        """The time in the query that matches a time in the reference."""
        return self.query_start_s + (reference_s - self.reference_start_s) / self.tempo_ratio

    def within(self, query_s: float, reference_s: float) -> Span | None:
        """The part inside both tracks, given their durations in seconds; None if there is none."""
        start_s = max(self.query_start_s, 0.0, self.query_at(0.0))
        end_s = min(self.query_end_s, query_s, self.query_at(reference_s))
        if start_s >= end_s:
            return None
        return Span(start_s, end_s, max(0.0, self.reference_at(start_s)), self.tempo_ratio)
