"""After a span is clipped to its tracks, each side is still the image of the other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asid_core.matching.span import Span

MOMENTS = st.floats(-500, 500)


@given(
    query_s=MOMENTS,
    reference_s=MOMENTS,
    ratio=st.floats(0.3, 3),
    before_s=st.floats(0, 500),
    after_s=st.floats(0, 500),
    durations_s=st.tuples(st.floats(0.1, 500), st.floats(0.1, 500)),
)
def test_a_cut_span_is_the_longest_part_of_its_line_inside_both_tracks(
    query_s: float,
    reference_s: float,
    ratio: float,
    before_s: float,
    after_s: float,
    durations_s: tuple[float, float],
) -> None:
    whole = Span.around(query_s, reference_s, ratio, before_s, after_s)
    cut = whole.within(*durations_s)
    if cut is None:
        return
    assert cut.reference_start_s == pytest.approx(whole.reference_at(cut.query_start_s), abs=1e-6)
    assert cut.reference_end_s == pytest.approx(whole.reference_at(cut.query_end_s), abs=1e-6)
    assert 0 <= cut.query_start_s <= cut.query_end_s <= durations_s[0]
    assert -1e-9 <= cut.reference_start_s <= cut.reference_end_s <= durations_s[1] + 1e-6
    starts = (cut.query_start_s - max(whole.query_start_s, 0), cut.reference_start_s)
    ends = (min(whole.query_end_s, durations_s[0]) - cut.query_end_s, durations_s[1] - cut.reference_end_s)
    assert min(starts) == pytest.approx(0, abs=1e-6) and min(ends) == pytest.approx(0, abs=1e-6)


def test_a_line_past_a_track_has_no_part_inside() -> None:
    assert Span.around(10, -20, 1.0, 5, 5).within(60, 60) is None
    assert Span.around(10, 100, 1.0, 5, 5).within(60, 60) is None
