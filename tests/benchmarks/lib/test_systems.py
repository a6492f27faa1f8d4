import json
from dataclasses import replace
from pathlib import Path

import pytest

from asid_core.evaluation.evaluate import evaluate
from asid_core.model.fingerprinter import Fingerprinter
from benchmarks.lib import speed
from benchmarks.lib.systems import Scored, bytes_per_second, cost_table, parameters, quality_table, shipped, systems_of
from tests.asid_core.evaluation.test_evaluate import perfect, random_system, table, truth
from tests.pipelines.catalogues import GNN, save_model


def test_linear_is_first_and_runs_with_and_without_probes(tmp_path: Path) -> None:
    assert shipped()[0] == "linear" and "gnn-paper" in shipped()
    names = [system.name for system in systems_of("linear", tmp_path)]
    assert names == ["linear", "linear, no probes"]
    assert [system.name for system in systems_of("gnn-paper", tmp_path)] == [
        "gnn-paper",
        "gnn-paper, graph blocks off",
    ]


def test_graph_blocks_can_be_left_out_of_any_weights(tmp_path: Path) -> None:
    weights = save_model(GNN, tmp_path / "w")
    whole, without = systems_of(weights, tmp_path / "kept")
    assert whole.weights == weights and without.name == "w, graph blocks off"
    model = Fingerprinter.from_pretrained(without.weights)
    assert not model.config.model.encoder.graph_blocks  # type: ignore[union-attr]
    assert model.config.model.name == "small-gnn-blocks-off"
    assert model.model_id != Fingerprinter.from_pretrained(weights).model_id
    assert parameters(model) < parameters(Fingerprinter.from_pretrained(weights))


def test_what_a_model_is_made_of_and_costs() -> None:
    linear = Fingerprinter.from_pretrained("linear")
    assert parameters(linear) == 256 * 1950 and bytes_per_second(linear) == 256 * 4 / 0.16
    text = cost_table([Scored("linear", {}, "linear"), Scored("linear, no probes", {}, "linear")], {"linear": 1234.5})
    assert text.count("\n| ") == 1 and "| linear | 499,200 | 6,400 | 1,234 |" in text
    assert "| - |" in cost_table([Scored("linear", {}, "linear")], {})


def test_the_table_has_every_stage_and_the_paired_difference_to_the_first() -> None:
    best = evaluate(perfect(), truth())
    found = [
        Scored("a", {"coarse": evaluate(random_system(0), truth()), "all": best}),
        Scored("b", {"all": evaluate(table([]), truth())}),
    ]
    lines = quality_table(found).splitlines()
    assert len(lines) == 5 and lines[0].endswith("| mAP minus a's, same queries |")
    assert lines[2].startswith("| a | coarse alone |") and "p < 0.001" in lines[2]
    assert lines[3] == "| a | all stages | 1.000 [1.000, 1.000] | 1.000 | - | 1.000 | 1.000 [1.000, 1.000] |  |"
    assert lines[4].endswith("| -1.000 [-1.000, -1.000], p < 0.001 |")
    with pytest.raises(ValueError, match="same benchmark"):
        fewer = replace(best, per_query=json.loads(json.dumps(best.per_query)))
        fewer.per_query["map"].popitem()
        quality_table([found[0], Scored("c", {"all": fewer})])


def test_speed_is_measured_on_an_idle_machine_only(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    assert not speed.idle(0.0, stat)  # not Linux
    stat.write_text("cpu  100 0 0 500 0 0 0 0 0 0\n")
    assert not speed.idle(0.0, stat)  # nothing was seen
