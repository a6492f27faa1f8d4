from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from asid_core.evaluation.occurrences import Rates, rates, to_markdown
from asid_core.evaluation.sample100 import Annotations, Clip, Layer, Sample
from asid_core.evaluation.statistics import clustered_figure, mean_figure
from tests.asid_core.evaluation.test_evaluate import table

TRACKS, PLACES = 8, 6


def annotations() -> Annotations:
    """Eight query tracks. Each plays its own reference six times for 8 s; half are beats, half riffs."""
    samples = []
    for i in range(TRACKS):
        spans = tuple((20.0 * n, 20.0 * n + 8) for n in range(PLACES))
        kind = "beat" if i % 2 else "riff"
        layer = Layer(1, "occurrence", spans)
        samples.append(Sample(f"S{i:03d}", f"Q{i}", f"R{i}", 1.0, PLACES, kind, "no", (layer,)))
    return Annotations(tuple(samples))


def answers(cuts: list[Clip], right: set[str], noise: bool = False) -> pa.Table:
    """For clips of the tracks in `right`, the right reference; for the others, a wrong one.

    A distractor ranks before both.
    """
    rows = [(c.name, c.reference if c.track in right else "R0", 0.8) for c in cuts]
    if noise:
        rows += [(c.name, "noise", 0.9) for c in cuts]
    return table([*rows, *((c.name, c.track, 1.0) for c in cuts), *((c.name, "Q7", 0.95) for c in cuts)])


def of(cuts: list[Clip], detections: pa.Table, protocol: str = "strict") -> Rates:
    result = rates(detections, cuts, annotations(), protocol, 5.0)  # type: ignore[arg-type]
    assert result is not None
    return result


def test_own_track_and_other_queries_never_count_against_a_cut() -> None:
    cuts = annotations().clips(5.0)
    assert len(cuts) == TRACKS * PLACES and not annotations().clips(10.0)
    result = of(cuts, answers(cuts, {c.track for c in cuts}))
    assert result.figures["hit_at_1"].value == 1 and (result.cuts, result.tracks) == (48, 8)


@pytest.mark.parametrize("protocol", ["strict", "paper"])
def test_silent_and_random_systems_get_what_they_must(protocol: str) -> None:
    cuts = annotations().clips(5.0)
    silent = of(cuts, table([]), protocol)
    assert all(figure.value == 0 == figure.high for figure in silent.figures.values())
    rng = np.random.default_rng(0)
    random = table([(c.name, f"R{i}", float(rng.random())) for c in cuts * 8 for i in range(TRACKS)])
    result = of(cuts, random, protocol)
    for k in (1, 3, 5):  # 48 cuts: a deviation of 0.07 at most
        assert result.figures[f"hit_at_{k}"].value == pytest.approx(k / TRACKS, abs=0.2)
    assert result.figures["hit_at_10"].value == 1


def test_noise_tracks_rank_in_strict_and_not_in_paper() -> None:
    cuts = annotations().clips(5.0)
    detections = answers(cuts, {c.track for c in cuts}, noise=True)
    strict, paper = of(cuts, detections), of(cuts, detections, "paper")
    assert strict.figures["hit_at_1"].value == 0 and strict.figures["hit_at_3"].value == 1
    assert paper.figures["hit_at_1"].value == 1 and paper.figures["map"].value == 1


def test_groups_are_those_of_the_relations() -> None:
    cuts = annotations().clips(5.0)
    result = of(cuts, answers(cuts, {"Q1", "Q3", "Q5", "Q7"}))
    by_type = {kind: figures["hit_at_1"] for kind, figures in result.groups["type"].items()}
    assert by_type["beat"].value == 1 and by_type["beat"].n == 24
    assert by_type["riff"].value == 0.25  # the wrong answer is right for Q0
    text = to_markdown([result])
    assert "| strict | 5 | 48 | 8 |" in text and "| type, HR@1 | 5 s |" in text and "| beat | 1.000" in text


def test_the_interval_is_that_of_tracks_not_of_cuts() -> None:
    cuts = annotations().clips(5.0)
    result = of(cuts, answers(cuts, {"Q1", "Q2", "Q3", "Q4"}))
    figure = result.figures["hit_at_1"]
    by_cut = mean_figure([1.0] * 30 + [0.0] * 18)
    by_track = mean_figure([1.0] * 5 + [0.0] * 3)
    assert figure.value == by_track.value == by_cut.value and figure.n == 48
    assert figure.high - figure.low == pytest.approx(by_track.high - by_track.low, abs=0.05)
    assert figure.high - figure.low > 1.8 * (by_cut.high - by_cut.low)


def test_clusters_of_one_are_the_plain_bootstrap() -> None:
    values = np.random.default_rng(0).random(40)
    assert clustered_figure(values, [str(i).zfill(2) for i in range(40)]) == mean_figure(values)
    with pytest.raises(ValueError, match="clusters"):
        clustered_figure(values, ["a"])
    assert clustered_figure([], []).n == 0


def test_no_cuts_no_rates(tmp_path: Path) -> None:
    assert rates(table([]), [], annotations(), "strict", 20.0) is None
