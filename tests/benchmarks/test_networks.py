from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from asid_core.evaluation.truth import Query, Relation, Truth
from asid_core.model.fingerprinter import Fingerprinter
from benchmarks.networks import forwards, measure, table
from tests.conftest import write_audio
from tests.pipelines.catalogues import melody


def test_a_network_finds_what_is_there_and_samples_played_backwards_do_not_count(tmp_path: Path) -> None:
    tunes = {f"r{seed}": melody(12.0, seed) for seed in range(3)}
    for name, tune in tunes.items():
        write_audio(tmp_path / "references" / f"{name}.wav", tune, 16_000)
    excerpts = {"same": tunes["r1"][48_000:160_000], "backwards": tunes["r2"][::-1], "nothing": melody(7.0, 9)}
    for name, excerpt in excerpts.items():
        write_audio(tmp_path / "queries" / f"{name}.wav", np.ascontiguousarray(excerpt), 16_000)
    kinds = {name: {"tier": "exact"} for name in ("same", "backwards")}
    relation = Relation("same", "r1", groups=kinds["same"])
    turned = replace(relation, query="backwards", reference="r2", backwards=True)
    queries = tuple(Query(name, 7.0, kinds.get(name, {})) for name in excerpts)
    truth = forwards(Truth(queries, tuple(tunes), (relation, turned)))
    assert [query.name for query in truth.queries] == ["same", "nothing"] and truth.relations == (relation,)
    report = measure(Fingerprinter.from_pretrained("linear"), tmp_path, truth)
    assert report.num_references == 3 and report.figures["map"].value == 1.0
    lines = table({"one": report, "two": report}).splitlines()
    assert lines[2].startswith("| network | mAP | AUROC | exact |") and lines[5].startswith("| two | 1.000")
    assert any("two minus one" in line for line in lines)
