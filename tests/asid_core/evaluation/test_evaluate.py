import json

import numpy as np
import pyarrow as pa
import pytest

from asid_core import schema
from asid_core.evaluation.evaluate import evaluate
from asid_core.evaluation.report import Report, compare, paired_table
from asid_core.evaluation.truth import Occurrence, Query, Relation, Truth

NUM_QUERIES, NUM_REFERENCES = 60, 20


def truth() -> Truth:
    """60 queries of one minute. One in five samples nothing; the others sample one reference each."""
    queries = tuple(Query(f"q{i:02d}", 60.0, {}) for i in range(NUM_QUERIES))
    relations = tuple(
        Relation(q.name, f"r{i % NUM_REFERENCES:02d}", (Occurrence(10, 15, 40, 45),), 1.0, 0.0, (), {"tier": tier(i)})
        for i, q in enumerate(queries)
        if i % 5 != 4
    )
    return Truth(queries, tuple(f"r{i:02d}" for i in range(NUM_REFERENCES)), relations)


def tier(index: int) -> str:
    return "hard" if index % 2 else "exact"


def table(rows: list[tuple[str, str, float]]) -> pa.Table:
    fill = {
        "query_start_s": 10.0, "query_end_s": 15.0, "reference_start_s": 40.0, "reference_end_s": 45.0,
        "coarse_score": 0.0, "tempo_ratio": 1.0, "pitch_semitones": 0.0, "num_windows": 1, "kind": "sample", "rank": 1,
        "sweep_id": "s", "model_id": "m",
    }  # fmt: skip
    values = [{"query_id": q, "reference_id": r, "score": s, **fill} for q, r, s in rows]
    return pa.Table.from_pylist(values, schema=schema.DETECTIONS)


def perfect() -> pa.Table:
    return table([(f"queries/{r.query}.flac", f"references/{r.reference}.flac", 0.9) for r in truth().relations])


def random_system(seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    return table(
        [(f"q{i:02d}", f"r{j:02d}", float(rng.random())) for i in range(NUM_QUERIES) for j in range(NUM_REFERENCES)]
    )


def values(report: Report) -> dict[str, float]:
    return {name: figure.value for name, figure in report.figures.items()}


def test_a_perfect_system() -> None:
    by_name = values(evaluate(perfect(), truth()))
    for name in ("map", "hit_at_1", "auroc", "auprc", "recall", "precision", "nothing_kept_empty", "query_iou"):
        assert by_name[name] == pytest.approx(1), name
    for name in ("mean_rank", "median_rank", "false_alarms_per_hour", "tempo_error", "start_error_s"):
        assert by_name[name] == 0, name


@pytest.mark.parametrize("protocol", ["strict", "paper"])
def test_a_system_that_answers_nothing(protocol: str) -> None:
    by_name = values(evaluate(table([]), truth(), protocol))  # type: ignore[arg-type]
    assert by_name["map"] == by_name["hit_at_10"] == by_name["recall"] == by_name["within_5_s"] == 0
    assert by_name["mean_rank"] == 1 and by_name["auroc"] == 0.5 and by_name["nothing_kept_empty"] == 1


def test_a_random_system_gets_what_chance_gives() -> None:
    reports = [values(evaluate(random_system(seed), truth())) for seed in range(8)]
    mean = {name: np.mean([r[name] for r in reports]) for name in reports[0]}
    harmonic = sum(1 / k for k in range(1, NUM_REFERENCES + 1)) / NUM_REFERENCES
    assert mean["map"] == pytest.approx(harmonic, abs=0.03)
    assert mean["hit_at_5"] == pytest.approx(5 / NUM_REFERENCES, abs=0.05)
    assert mean["mean_rank"] == pytest.approx(0.5, abs=0.05)
    assert mean["auroc"] == pytest.approx(0.5, abs=0.1)
    # half of the wrong pairs are over 0.5: of 20 a query in 12, of 19 in 48, all in an hour
    assert mean["false_alarms_per_hour"] == pytest.approx((12 * 20 + 48 * 19) / 2, rel=0.05)


def test_noise_tracks_count_in_strict_and_not_in_paper() -> None:
    noise = table([(f"q{i:02d}", "noise/n1.mp3", 0.95) for i in range(NUM_QUERIES)])
    both = pa.concat_tables([perfect(), noise])
    strict = evaluate(both, truth(), "strict", references=["noise/n1.mp3", "noise/n2.mp3"])
    paper = evaluate(both, truth(), "paper")
    assert values(strict)["map"] == 0.5 and values(paper)["map"] == 1.0
    assert strict.num_references == NUM_REFERENCES + 2 and paper.num_references == NUM_REFERENCES
    assert values(strict)["nothing_kept_empty"] == 0


def test_own_track_other_queries_and_ignored_references_are_not_ranked() -> None:
    known = Truth((Query("q", 60.0, ignored=("r2",)), Query("other", 60.0)), ("r1", "r2"), (Relation("q", "r1"),))
    rows = table([("q", "q", 1.0), ("q", "queries/other.wav", 0.9), ("q", "r2", 0.8), ("q", "r1", 0.7)])
    assert values(evaluate(rows, known))["hit_at_1"] == 1.0


def test_the_best_row_of_a_pair_counts_once() -> None:
    rows = table([("q00", "r00", 0.2), ("q00", "r00", 0.8), ("q00", "r07", 0.5)])
    report = evaluate(rows, truth())
    assert report.per_query["map"]["q00"] == 1.0


def test_groups_hold_only_their_relations_and_charge_no_other_right_answer() -> None:
    known = Truth(
        (Query("q", 60.0),),
        ("r1", "r2"),
        (Relation("q", "r1", groups={"type": "beat"}), Relation("q", "r2", groups={"type": "riff"})),
    )
    report = evaluate(table([("q", "r1", 0.9), ("q", "r2", 0.8)]), known)
    assert report.groups["type"]["beat"]["map"].value == report.groups["type"]["riff"]["map"].value == 1.0
    tiers = evaluate(perfect(), truth()).groups["tier"]
    assert {name: figures["map"].n for name, figures in tiers.items()} == {"exact": 24, "hard": 24}


def test_compare_is_paired_and_refuses_other_queries() -> None:
    good, bad = evaluate(perfect(), truth()), evaluate(random_system(0), truth())
    result = compare(good, bad)
    assert result.low > 0 and result.difference > 0.5 and result.n == 48
    fewer = Truth(truth().queries[:10], truth().references, truth().relations[:8])
    with pytest.raises(ValueError, match="different queries"):
        compare(good, evaluate(perfect(), fewer))


def test_reports_are_json_and_markdown() -> None:
    report = evaluate(table([]), truth())
    plain = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert plain["figures"]["map"]["value"] == 0 and plain["figures"]["tempo_error"]["value"] is None
    text = report.to_markdown()
    assert "| mAP | 0.000 [0.000, 0.000] |" in text and "tempo ratio error" not in text
    again = Report.from_dict(plain)
    assert again.to_markdown() == text and again.per_query == report.per_query
    assert str(again.figures["tempo_error"]) == "-"


def test_the_paired_table_names_both_systems_and_the_interval() -> None:
    good, bad = evaluate(perfect(), truth()), evaluate(table([]), truth())
    text = paired_table(good, bad, ("new", "old"))
    assert "new minus old" in text and "| mAP | +1.000 [+1.000, +1.000], p < 0.001 |" in text


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="no queries"):
        evaluate(table([]), Truth((), (), ()))
    with pytest.raises(ValueError, match="finite"):
        evaluate(table([("q00", "r00", float("nan"))]), truth())


def test_pitch_tempo_and_direction_count_only_where_a_pair_is_reported() -> None:
    """Two pairs reach the threshold, one of them with a wrong tempo. A third pair below it must not count."""
    rows = table([("q00", "r00", 0.9), ("q01", "r01", 0.9), ("q02", "r02", 0.1)]).to_pylist()
    rows[0] |= {"direction": 0.8}
    rows[1] |= {"tempo_ratio": 1.03, "pitch_semitones": 0.4, "direction": 0.3}
    rows[2] |= {"tempo_ratio": 1.5, "pitch_semitones": 3.0}
    by_name = values(evaluate(pa.Table.from_pylist(rows, schema=schema.DETECTIONS), truth()))
    assert by_name["tempo_right"] == 0.5 and by_name["pitch_right"] == 1.0 and by_name["direction_right"] == 0.5
